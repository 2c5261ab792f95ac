// Which KV pages are in use. Knows ids and reference counts; holds no tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer {

// Not thread-safe: the scheduler's mutex guards it.
class PageAllocator {
 public:
  // n_pages is a multiple of n_owners, to whom ids belong in runs: the first n_pages / n_owners are owner
  // 0's.
  explicit PageAllocator(int64_t n_pages, int64_t n_owners = 1);

  // A page of `owner` with one reference. Throws Error{kMemory} with the numbers where none is free.
  int32_t allocate(int64_t owner = 0);
  void add_reference(int32_t page);
  void release(int32_t page);  // free again with the last reference

  int32_t n_references(int32_t page) const { return references_[static_cast<std::size_t>(page)]; }
  int64_t n_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t n_free(int64_t owner) const {
    return static_cast<int64_t>(free_[static_cast<std::size_t>(owner)].size());
  }
  int64_t n_free() const;  // of all owners
  int64_t owner(int32_t page) const { return page / per_owner_; }

 private:
  std::vector<int32_t> references_;         // [n_pages]
  std::vector<std::vector<int32_t>> free_;  // of each owner; the last is handed out next
  int64_t per_owner_;
};

}  // namespace seer
