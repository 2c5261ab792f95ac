// How much each row of a window counts in the loss.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/distillation.h"

namespace seer {

// In a window in which something is looked up, the rows of the answers together have this share of the loss.
// Without weights they would have about a hundredth, because a window has thousands of rows, and gates then
// lose look-ups although they learn from many. If half of the windows have look-ups, the answers' rows have a
// sixteenth of the whole loss. The demo model's gates for decoding then find 20 of 20 planted numbers, and 4
// without weights.
inline constexpr double kAnswersShare = 0.125;

// Returns a weight for each row; the mean of all is 1. Row i has the `tokens_of_row` tokens from
// rows.position(i) * tokens_of_row on. `answers` are the positions of the tokens before those of answers, in
// any order; positions that a stride larger than 1 leaves out have no effect. The result is empty, which
// means equal weights, if no row has one of the answers, or if the rows that have them make up the share
// without weights.
std::vector<float> row_weights(const ScoredRows& rows, int64_t tokens_of_row,
                               std::span<const int64_t> answers);

}  // namespace seer
