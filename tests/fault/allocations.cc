#include "tests/fault/allocations.h"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

std::atomic<int64_t> g_count{0}, g_fail_from{kNever}, g_fail_to{kNever}, g_live{0};
std::atomic<bool> g_struck{false};

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  const int64_t index = g_count.fetch_add(1, std::memory_order_relaxed);
  if (index >= g_fail_from.load(std::memory_order_relaxed) &&
      index < g_fail_to.load(std::memory_order_relaxed)) {
    g_struck.store(true);
    return nullptr;
  }
  if (size == 0) size = 1;
  void* data = alignment == 0 ? std::malloc(size)
                              : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (data != nullptr) g_live.fetch_add(1, std::memory_order_relaxed);
  return data;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment = 0) {
  void* data = allocate(size, alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

void release(void* data) noexcept {
  if (data != nullptr) g_live.fetch_sub(1, std::memory_order_relaxed);
  std::free(data);
}

}  // namespace

// The forms for arrays call these.
void* operator new(std::size_t size) { return allocate_or_throw(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { release(data); }
void operator delete(void* data, std::size_t) noexcept { release(data); }
void operator delete(void* data, std::align_val_t) noexcept { release(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { release(data); }

namespace seer::testing {

AllocationFault::AllocationFault(int64_t index, Shortage shortage) {
  g_struck = false;
  g_count = 0;
  g_fail_to = shortage == Shortage::kOnce && index != kNever ? index + 1 : kNever;
  g_fail_from = index;
}

AllocationFault::~AllocationFault() {
  g_fail_from = kNever;
  g_fail_to = kNever;
}

bool AllocationFault::struck() { return g_struck; }
int64_t AllocationFault::n_allocated() { return g_count; }
int64_t n_live_allocations() { return g_live; }

}  // namespace seer::testing
