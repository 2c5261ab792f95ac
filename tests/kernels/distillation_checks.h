// Checks of the operations that train gates, for any backend that has them.
#pragma once

#include "kernels/backend.h"

namespace seer::testing {

// Attention, block maxima and both kinds of ground truth against a map of all probabilities in float64, for
// windows around the edges of blocks. `error` is the largest allowed of a probability; outputs of attention
// must have the bits of Backend::prefill_attention().
void check_ground_truth(Backend* backend, double error);
// Matrix products of every form against float64.
void check_multiply(Backend* backend, double error);
// The transpose of a rotation, the gradient of an RMS norm and that of the KL divergence, against float64.
void check_gradients(Backend* backend, double error);
// Some steps of AdamW against float64.
void check_optimiser(Backend* backend, double error);
// Sums of squares of rows, and of the first numbers of rows, against float64; `error` is relative.
void check_squares(Backend* backend, double error);

}  // namespace seer::testing
