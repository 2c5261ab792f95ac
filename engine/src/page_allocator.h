// Keeps track of the KV pages that are in use, by ids and reference counts. It holds no tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer {

// Not thread-safe: the caller must hold the scheduler's mutex.
class PageAllocator {
 public:
  // n_pages must be a multiple of n_owners. The first n_pages / n_owners ids belong to owner 0, the next ones
  // to owner 1, and so on. An owner is a rank, if ranks divide prompts.
  explicit PageAllocator(int64_t n_pages, int64_t n_owners = 1);

  // Returns a page of `owner` with one reference. Throws Error{kMemory} with the numbers if none is free.
  int32_t allocate(int64_t owner = 0);
  void add_reference(int32_t page);
  void release(int32_t page);  // the page is free after the last reference's release

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
