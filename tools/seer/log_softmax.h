// The loss of a batch of predictions.
#pragma once

#include <cstdint>

namespace seer::cli {

// Sum over rows of log(sum(exp(logits))) - logits[target], in double. logits [n_rows, n_vocab], targets
// [n_rows], each in [0, n_vocab). `losses` [n_rows] gets each row's; null: none. Large batches are split over
// a few threads.
double negative_log_likelihood(const float* logits, const int32_t* targets, int64_t n_rows, int64_t n_vocab,
                               double* losses = nullptr);

}  // namespace seer::cli
