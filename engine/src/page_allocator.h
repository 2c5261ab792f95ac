// Which KV pages are in use. Knows ids and reference counts; holds no tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer {

// Not thread-safe: the scheduler's mutex guards it.
class PageAllocator {
 public:
  explicit PageAllocator(int64_t n_pages);

  // A page with one reference. Throws Error{kMemory} with the numbers where none is free.
  int32_t allocate();
  void add_reference(int32_t page);
  void release(int32_t page);  // free again with the last reference

  int32_t n_references(int32_t page) const { return references_[static_cast<std::size_t>(page)]; }
  int64_t n_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t n_free() const { return static_cast<int64_t>(free_.size()); }

 private:
  std::vector<int32_t> references_;  // [n_pages]
  std::vector<int32_t> free_;        // the last is handed out next
};

}  // namespace seer
