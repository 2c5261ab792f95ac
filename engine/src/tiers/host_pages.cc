#include "engine/src/tiers/host_pages.h"

#include <algorithm>
#include <cstring>

#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 30;  // taken from the system at a time

}  // namespace

HostPages::HostPages(int64_t bytes, int64_t record_bytes, Backend* backend) : record_bytes_(record_bytes) {
  const int64_t n = bytes / record_bytes;
  if (n < 1)
    throw Error(ErrorKind::kUsage, "expected a host cache of at least one page, which has " +
                                       std::to_string(record_bytes) + " bytes, found " +
                                       std::to_string(bytes));
  const int64_t per_block = std::max<int64_t>(1, kBlockBytes / record_bytes);
  free_.reserve(static_cast<size_t>(n));
  for (int64_t first = 0; first < n; first += per_block) {
    const int64_t in_block = std::min(per_block, n - first);
    blocks_.push_back(backend->allocate_host(in_block * record_bytes, "the host cache"));
    for (int64_t i = 0; i < in_block; ++i)
      free_.push_back(static_cast<std::byte*>(blocks_.back().get()) + i * record_bytes);
  }
  std::reverse(free_.begin(), free_.end());
}

bool HostPages::has(const PageName& name) {
  const std::lock_guard lock(mutex_);
  const auto found = pages_.find(name);
  return found != pages_.end() && found->second.complete;
}

// Returns room for a record; null if every page is being read or written. The caller has the lock.
std::byte* HostPages::take_room() {
  if (!free_.empty()) {
    std::byte* const room = free_.back();
    free_.pop_back();
    return room;
  }
  for (auto last = order_.rbegin(); last != order_.rend(); ++last) {
    const auto page = pages_.find(*last);
    if (page->second.n_users > 0) continue;
    std::byte* const room = page->second.record;
    order_.erase(page->second.place);
    pages_.erase(page);
    return room;
  }
  return nullptr;
}

std::byte* HostPages::begin_store(const PageName& name, double) {
  const std::lock_guard lock(mutex_);
  std::list<PageName> place{name};  // made first, so that nothing fails in the middle
  const auto [page, is_new] = pages_.try_emplace(name);
  if (!is_new) return nullptr;
  std::byte* const room = take_room();
  if (room == nullptr) {
    pages_.erase(page);
    return nullptr;
  }
  order_.splice(order_.begin(), place);
  page->second = {room, 1, false, order_.begin()};
  return room;
}

void HostPages::end_store(const PageName& name, bool complete) {
  const std::lock_guard lock(mutex_);
  const auto page = pages_.find(name);
  page->second.complete = complete;
  --page->second.n_users;
  if (complete) return;
  free_.push_back(page->second.record);  // there is room: `free_` once had all records
  order_.erase(page->second.place);
  pages_.erase(page);
}

bool HostPages::store(const PageName& name, std::span<const std::byte> record, double cost_s) {
  std::byte* const room = begin_store(name, cost_s);
  if (room == nullptr) return has(name);
  std::memcpy(room, record.data(), static_cast<size_t>(record_bytes_));
  end_store(name, true);
  return true;
}

const std::byte* HostPages::borrow(const PageName& name) {
  const std::lock_guard lock(mutex_);
  const auto found = pages_.find(name);
  if (found == pages_.end() || !found->second.complete) return nullptr;
  ++found->second.n_users;
  order_.splice(order_.begin(), order_, found->second.place);
  return found->second.record;
}

void HostPages::release_record(const PageName& name) {
  const std::lock_guard lock(mutex_);
  --pages_.at(name).n_users;
}

void HostPages::used(std::span<const PageName> chain) {
  const std::lock_guard lock(mutex_);
  for (auto name = chain.rbegin(); name != chain.rend(); ++name)
    if (const auto found = pages_.find(*name); found != pages_.end())
      order_.splice(order_.begin(), order_, found->second.place);
}

bool HostPages::load(const PageName& name, std::span<std::byte> record) {
  const std::byte* const from = borrow(name);
  if (from == nullptr) return false;
  std::memcpy(record.data(), from, static_cast<size_t>(record_bytes_));
  release_record(name);
  return true;
}

int64_t HostPages::n_pages() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(pages_.size());
}

}  // namespace seer
