#include "engine/src/tiers/page_index.h"

#include <algorithm>

namespace seer {
namespace {

constexpr double kMostTimesAverage = 8.0;

}  // namespace

void PageIndex::put(const PageName& name, const Entry& entry) {
  const auto [it, is_new] = entries_.try_emplace(name, entry);
  if (!is_new) {
    order_.erase({it->second.stamp, name});
    it->second = entry;
  }
  order_.emplace(entry.stamp, name);
}

void PageIndex::erase(const PageName& name) {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return;
  order_.erase({it->second.stamp, name});
  entries_.erase(it);
}

PageIndex::Entry* PageIndex::find(const PageName& name) {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

std::optional<std::pair<PageName, PageIndex::Entry>> PageIndex::first() const {
  if (order_.empty()) return std::nullopt;
  const PageName& name = order_.begin()->second;
  return std::pair(name, entries_.at(name));
}

int64_t PageWorth::stamp(int64_t now, double cost_s, int64_t bytes) const {
  if (cost_s < 0 || cost_of_byte_ <= 0) return now;
  const double times = std::min(cost_s / static_cast<double>(bytes) / cost_of_byte_, kMostTimesAverage);
  return now + static_cast<int64_t>((times - 1) * stay_ns_);
}

// Averages are over what the tier holds at one time, and so a page counts as its share of that.
double PageWorth::share(int64_t bytes) const {
  return std::min(1.0, static_cast<double>(bytes) / static_cast<double>(max_bytes_));
}

void PageWorth::stored(double cost_s, int64_t bytes) {
  const double cost = cost_s / static_cast<double>(bytes);
  cost_of_byte_ = cost_of_byte_ < 0 ? cost : cost_of_byte_ + (cost - cost_of_byte_) * share(bytes);
}

void PageWorth::evicted(int64_t now, const PageIndex::Entry& entry) {
  const auto age = static_cast<double>(std::max<int64_t>(now - entry.stamp, 0));
  stay_ns_ += (age - stay_ns_) * share(entry.bytes);
}

}  // namespace seer
