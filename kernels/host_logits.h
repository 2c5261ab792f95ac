// One row of logits on the host: the choice of a token from it, and probabilities.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/sample_row.h"

namespace seer {

// Floats of scratch memory that choose_token() needs for a vocabulary of this size.
constexpr int64_t choose_token_scratch(int64_t n_vocab) { return 3 * n_vocab; }
// Chooses as `row` says, and returns the id, or -1 if the largest changed logit is not finite. It is how the
// CPU backend samples, and how a row is sampled that was read from another device. `logits` [n_vocab] get the
// row's changes; `scratch` is aligned as a double is. Any thread.
int32_t choose_token(std::span<float> logits, const SampleRow& row, float* scratch);

// log(sum(exp(logits))), within 1e-6 of its exact value or of the float next to it. NaN or infinity if a
// logit is NaN or infinity, or if none is finite. Any thread.
double log_sum_exp(std::span<const float> logits);

}  // namespace seer
