// A registry of mapped files by address, for handlers of SIGBUS.
#pragma once

#include <cstddef>

namespace seer {

// An entry of the registry, for as long as the object lives. Entries may be made and destroyed on several
// threads at the same time.
class MappedRange {
 public:
  // `path` must outlive the entry. Throws std::bad_alloc.
  MappedRange(const std::byte* begin, size_t size, const char* path);
  ~MappedRange();
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;

  // Returns the path of the entry whose range holds the address, or nullptr if there is none. It takes no
  // lock and allocates nothing, so it may be called in a signal handler. The result lives as long as the
  // entry: a thread that reads a range keeps its file, and so the entry.
  static const char* path_at(const void* address) noexcept;

 private:
  struct Slot;
  Slot* slot_;
};

}  // namespace seer
