// How much each row of a window counts in the loss.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/distillation.h"

namespace seer {

// In a window in which something is looked up, the rows of the answers together have this share of the loss.
// Without a weight they would have some hundredth, because a window has thousands of rows, and gates then
// lose look-ups although they learn from many. If half of the windows have look-ups, an eighth is a sixteenth
// of all loss, with which the demo model's gates for decoding find 20 of 20 planted numbers, and 4 without.
inline constexpr double kAnswersShare = 0.125;

// Returns a weight for each row, of which the mean is 1. `answers` are the positions of tokens before those
// of an answer, in any order, and a row has `tokens_of_row` tokens from rows.position(i) * tokens_of_row on.
// Empty, if no row has one of the answers, if all have, or if those that have make up the share anyway.
// Positions between rows, which a stride larger than 1 leaves out, have no weight.
std::vector<float> row_weights(const ScoredRows& rows, int64_t tokens_of_row,
                               std::span<const int64_t> answers);

}  // namespace seer
