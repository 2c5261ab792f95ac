// The loss of a batch of predictions.
#pragma once

#include <cstdint>

namespace seer::cli {

// Returns the sum over rows of log(sum(exp(logits))) - logits[target], computed in double. logits is [n_rows,
// n_vocab]; targets is [n_rows], each in [0, n_vocab). If `losses` [n_rows] is not null, it receives each
// row's loss. Large batches are split over a few threads.
double negative_log_likelihood(const float* logits, const int32_t* targets, int64_t n_rows, int64_t n_vocab,
                               double* losses = nullptr);

}  // namespace seer::cli
