// How one token is chosen from one row of logits.
#pragma once

#include <cstdint>
#include <span>

namespace seer {

// What the past of a sequence does to one logit: (logit > 0 ? logit / divide : logit * divide) - subtract,
// or, where it is banned, -infinity.
struct LogitChange {
  int32_t id = 0;
  float divide = 1.0F;
  float subtract = 0.0F;
  bool banned = false;
};

// In this order: the changes, the temperature, top_k, top_p, min_p, the draw. Tokens rank by their changed
// logit, the lower id first among equals, and each of the three keeps a first part of that ranking:
//   top_k  the k first;
//   top_p  the shortest part whose probability, among what top_k kept, reaches top_p; at least one token;
//   min_p  tokens with at least min_p times the first one's probability.
// The draw walks the kept ids in ascending order and takes the first at which the sum of their probabilities,
// scaled to 1, exceeds `uniform`. A logit that is NaN or -infinity is never chosen.
struct SampleRow {
  double temperature = 0.0;  // 0: greedy, the first of the ranking; what follows is not looked at then
  int64_t top_k = 0;         // 0: all
  double top_p = 1.0;        // (0, 1]
  double min_p = 0.0;        // [0, 1)
  double uniform = 0.0;      // [0, 1)
  std::span<const LogitChange> changes;  // each id once; ids outside the vocabulary change nothing
};

}  // namespace seer
