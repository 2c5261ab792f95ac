// How one token is chosen from one row of logits.
#pragma once

#include <cstdint>
#include <span>

namespace seer {

// A change of one logit that follows from the past of a sequence. The logit becomes -infinity if it is
// banned, else (logit > 0 ? logit / divide : logit * divide) - subtract.
struct LogitChange {
  int32_t id = 0;
  float divide = 1.0F;
  float subtract = 0.0F;
  bool banned = false;
};

// The steps are applied in this order: the changes, the temperature, top_k, top_p, min_p, the draw. Tokens
// rank by their changed logit, the lower id first among equals, and top_k, top_p and min_p each keep the
// first part of that ranking:
//
//   top_k  the first k tokens
//   top_p  the shortest part whose probability, among the tokens that top_k kept, reaches top_p, and at least
//          one token
//   min_p  the tokens with at least min_p times the first one's probability
//
// The draw walks the kept ids in ascending order and takes the first at which the sum of their probabilities,
// scaled to 1, exceeds `uniform`. A logit that is NaN or -infinity is never chosen.
struct SampleRow {
  double temperature = 0.0;  // 0: greedy, the first of the ranking; the members below are then ignored
  int64_t top_k = 0;         // 0: all
  double top_p = 1.0;        // (0, 1]
  double min_p = 0.0;        // [0, 1)
  double uniform = 0.0;      // [0, 1)
  std::span<const LogitChange> changes;  // each id once; ids outside the vocabulary change nothing
};

}  // namespace seer
