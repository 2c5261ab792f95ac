// A file that appears under its name when it is complete, and not before.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seer {

// Says whether a file must survive a loss of power. If so, finish() takes as long as the disk takes.
enum class Durability { kNone, kSynced };

class OutputFile {
 public:
  // Opens `path`.tmp next to the target, so that a folder which cannot be written to is reported before the
  // work. If `path` is something other than a regular file (a pipe, /dev/full), it is written directly. A
  // file that was there stays as it is until finish(). All functions throw Error{kRuntime}.
  explicit OutputFile(std::string path);
  // Removes the temporary file unless finish() completed.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  void finish(Durability durability = Durability::kNone);
  int fd() const { return fd_; }  // for libraries that write to a descriptor
  // Throws Error{kRuntime} with errno's reason: "cannot write PATH: No space left on device; ...".
  [[noreturn]] void fail_to_write() const { fail("write"); }

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, temporary_;  // temporary_ is empty if path_ is written directly
  bool replaces_ = false;         // a file was there before
  int fd_ = -1;
};

}  // namespace seer
