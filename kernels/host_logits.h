// One row of logits on the host: the choice of a token from it, and probabilities.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/sample_row.h"

namespace seer {

// Returns how many floats of scratch memory choose_token() needs for a vocabulary of this size.
constexpr int64_t choose_token_scratch(int64_t n_vocab) { return 3 * n_vocab; }
// Chooses as `row` says, and returns the id, or -1 if the largest changed logit is not finite. The CPU
// backend samples by this function; it can also be called for rows that were read from a GPU. The row's
// changes are applied to `logits` [n_vocab] in place; `scratch` must be aligned for doubles. Any thread.
int32_t choose_token(std::span<float> logits, const SampleRow& row, float* scratch);

// Returns log(sum(exp(logits))), within 1e-6 of its exact value or of the float next to it. NaN or infinity
// if a logit is NaN or infinity, or if none is finite. Any thread.
double log_sum_exp(std::span<const float> logits);

}  // namespace seer
