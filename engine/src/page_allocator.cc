#include "engine/src/page_allocator.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <string>

#include "seer/error.h"

namespace seer {

PageAllocator::PageAllocator(int64_t n_pages, int64_t n_owners)
    : references_(static_cast<size_t>(n_pages), 0),
      free_(static_cast<size_t>(n_owners), std::vector<int32_t>(static_cast<size_t>(n_pages / n_owners))),
      per_owner_(std::max<int64_t>(1, n_pages / n_owners)) {
  assert(n_pages % n_owners == 0);
  // Low ids are allocated first, so that a short run touches little of the pool.
  int32_t first = 0;
  for (std::vector<int32_t>& free : free_) {
    std::iota(free.rbegin(), free.rend(), first);
    first += static_cast<int32_t>(free.size());
  }
}

int64_t PageAllocator::n_free() const {
  int64_t n = 0;
  for (const std::vector<int32_t>& free : free_) n += static_cast<int64_t>(free.size());
  return n;
}

int32_t PageAllocator::allocate(int64_t owner) {
  std::vector<int32_t>& free = free_[static_cast<size_t>(owner)];
  if (free.empty())
    throw Error(ErrorKind::kMemory, "the KV cache is full: all " +
                                        std::to_string(n_pages() / static_cast<int64_t>(free_.size())) +
                                        " pages are in use. Free other sessions or use a larger --ctx-size.");
  const int32_t page = free.back();
  free.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageAllocator::add_reference(int32_t page) {
  assert(references_[static_cast<size_t>(page)] > 0);
  ++references_[static_cast<size_t>(page)];
}

void PageAllocator::release(int32_t page) {
  assert(references_[static_cast<size_t>(page)] > 0);
  if (--references_[static_cast<size_t>(page)] == 0) free_[static_cast<size_t>(owner(page))].push_back(page);
}

}  // namespace seer
