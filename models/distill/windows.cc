#include "models/distill/windows.h"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "models/distill/seeded.h"

namespace seer {

Windows::Windows(std::span<const int32_t> tokens, int64_t window, uint64_t seed)
    : tokens_(tokens), window_(window), seed_(seed) {
  const auto n = static_cast<int64_t>(tokens.size());
  assert(n >= window && window > 0);
  // One window fewer than fit, if there are several, so that the offset can be any token of a window.
  in_epoch_ = std::max<int64_t>(1, n / window - 1);
  slack_ = std::min(n - in_epoch_ * window, window);
}

void Windows::begin_epoch(int64_t epoch) {
  epoch_ = epoch;
  const uint64_t seed = seeded_bits(seed_, static_cast<uint64_t>(epoch));
  offset_ = static_cast<int64_t>(seeded_bits(seed, 0) % static_cast<uint64_t>(slack_ + 1));
  order_.resize(static_cast<size_t>(in_epoch_));
  std::iota(order_.begin(), order_.end(), 0);
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[seeded_bits(seed, i) % i]);
}

std::span<const int32_t> Windows::at(int64_t i) {
  if (i / in_epoch_ != epoch_) begin_epoch(i / in_epoch_);
  const int64_t first = offset_ + order_[static_cast<size_t>(i % in_epoch_)] * window_;
  return tokens_.subspan(static_cast<size_t>(first), static_cast<size_t>(window_));
}

}  // namespace seer
