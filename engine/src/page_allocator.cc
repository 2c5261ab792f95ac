#include "engine/src/page_allocator.h"

#include <cassert>
#include <numeric>
#include <string>

#include "seer/error.h"

namespace seer {

PageAllocator::PageAllocator(int64_t n_pages)
    : references_(static_cast<size_t>(n_pages), 0), free_(static_cast<size_t>(n_pages)) {
  // Low ids first, so that a short run touches little of the pool.
  std::iota(free_.rbegin(), free_.rend(), 0);
}

int32_t PageAllocator::allocate() {
  if (free_.empty())
    throw Error(ErrorKind::kMemory, "the KV cache is full: all " + std::to_string(n_pages()) +
                                        " pages are in use. Free other sessions or use a larger --ctx-size.");
  const int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void PageAllocator::add_reference(int32_t page) {
  assert(references_[static_cast<size_t>(page)] > 0);
  ++references_[static_cast<size_t>(page)];
}

void PageAllocator::release(int32_t page) {
  assert(references_[static_cast<size_t>(page)] > 0);
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace seer
