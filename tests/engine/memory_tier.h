// A tier in memory for the tests, which can be held, and can fail as a disk does.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "engine/src/tiers/page_tier.h"

namespace seer::testing {

class MemoryTier final : public PageTier {
 public:
  bool has(const PageName& name) override {
    const std::lock_guard lock(mutex_);
    return records_.contains(name.to_hex());
  }
  bool store(const PageName& name, std::span<const std::byte> record, double) override {
    std::unique_lock lock(mutex_);
    pass(&lock, &stores_);
    if (refuses_) return false;
    records_[name.to_hex()].assign(record.begin(), record.end());
    return true;
  }
  bool load(const PageName& name, std::span<std::byte> record) override {
    std::unique_lock lock(mutex_);
    pass(&lock, &loads_);
    const auto found = records_.find(name.to_hex());
    const int64_t n = loads_.n++;
    changed_.notify_all();
    if (found == records_.end() || damaged(n)) return false;
    std::copy(found->second.begin(), found->second.end(), record.begin());
    return true;
  }
  int64_t n_pages() const override {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(records_.size());
  }
  int64_t n_bytes() const override {
    const std::lock_guard lock(mutex_);
    int64_t n = 0;
    for (const auto& [name, record] : records_) n += static_cast<int64_t>(record.size());
    return n;
  }

  // Holds loads or stores: each waits until release().
  void hold_loads() { hold(&loads_); }
  void hold_stores() { hold(&stores_); }
  void release() {
    const std::lock_guard lock(mutex_);
    loads_.held = stores_.held = false;
    changed_.notify_all();
  }
  void wait_for_held_load() { wait_for(&loads_); }
  void wait_for_held_store() { wait_for(&stores_); }
  int64_t n_loads() const {
    const std::lock_guard lock(mutex_);
    return loads_.n;
  }
  void wait_for_loads(int64_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return loads_.n >= n; });
  }
  void refuse() { refuses_ = true; }
  // Says whether load number n, from 0 on, finds its page damaged. Set it while nothing is loaded.
  std::function<bool(int64_t n)> damaged = [](int64_t) { return false; };

 private:
  struct Gate {
    bool held = false;
    int n_waiting = 0;
    int64_t n = 0;
  };
  void pass(std::unique_lock<std::mutex>* lock, Gate* gate) {
    ++gate->n_waiting;
    changed_.notify_all();
    changed_.wait(*lock, [&] { return !gate->held; });
    --gate->n_waiting;
  }
  void hold(Gate* gate) {
    const std::lock_guard lock(mutex_);
    gate->held = true;
  }
  void wait_for(Gate* gate) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return gate->held && gate->n_waiting > 0; });
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::byte>> records_;
  Gate loads_, stores_;
  std::atomic<bool> refuses_{false};
};

}  // namespace seer::testing
