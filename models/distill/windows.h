// Cuts a list of tokens into windows, in an order that depends on a seed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace seer {

// Each epoch draws an offset and an order: its windows lie in the list without gaps from that offset on, and
// come in that order. Window i is a function of the seed and i, so a resumed run gets the same ones.
class Windows {
 public:
  // There must be at least `window` tokens, and they must outlive the object.
  Windows(std::span<const int32_t> tokens, int64_t window, uint64_t seed);

  std::span<const int32_t> at(int64_t i);
  int64_t in_epoch() const { return in_epoch_; }

 private:
  void begin_epoch(int64_t epoch);

  std::span<const int32_t> tokens_;
  int64_t window_, in_epoch_, slack_;
  uint64_t seed_;
  int64_t epoch_ = -1, offset_ = 0;
  std::vector<int64_t> order_;
};

}  // namespace seer
