// A file that appears under its name when it is whole, and not before.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seer::cli {

class OutputFile {
 public:
  // Opens `path`.tmp next to the target, so that a folder which cannot be written to is known before the
  // work. If `path` is something other than a regular file (a pipe, /dev/full), it is written directly.
  // Throws Error{kRuntime}, as the other functions do. A file that was there stays as it is until finish().
  explicit OutputFile(std::string path);
  // Removes the temporary file unless finish() came to its end.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  void finish();
  int fd() const { return fd_; }  // for libraries that write themselves
  // Throws Error{kRuntime} with errno's reason: "cannot write PATH: No space left on device; ...".
  [[noreturn]] void fail_to_write() const { fail("write"); }

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, temporary_;  // temporary_ empty: path_ is written directly
  int fd_ = -1;
};

}  // namespace seer::cli
