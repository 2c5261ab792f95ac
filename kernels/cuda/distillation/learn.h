// The kernels by which gates learn on the GPU, besides products (product.h) and ground truth (params.h):
// inputs of gates, rotations, norms, the divergence, and the numbers of all gates as one list. Tensors are
// float32 unless a comment says otherwise. Sums are taken in an order that depends on the shapes alone. See
// DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/distillation.h"

namespace seer::cuda {

// out [n_heads, n_rows, width] = in [n_rows, n_heads, width], bf16.
struct SplitHeadsParams {
  float* out;
  const void* in;
  int64_t n_heads, n_rows, width;
};
cudaError_t launch_split_heads(const SplitHeadsParams& params, cudaStream_t stream);

struct GroupQueriesParams {
  float* out;        // [n_kv_heads, rows.n, group * d_head], or [n_kv_heads, rows.n, d_head] of means
  const void* qkv;   // bf16 [n_tokens, qkv_width]; query heads come first
  const void* norm;  // bf16 [d_head]; null: heads are not normalised
  int64_t qkv_width;
  ScoredRows rows;
  float eps;
  int n_kv_heads, group, d_head;
  bool mean;
};
// Returns cudaErrorInvalidValue for groups of more than 128 heads.
cudaError_t launch_group_queries(const GroupQueriesParams& params, cudaStream_t stream);

struct RotateHeadsParams {
  float* x;                // [n_heads, n_rows, width]; the first 2 * half components are rotated
  const float *cos, *sin;  // [n_rows, half]
  int64_t n_heads, n_rows, width;
  int half;
  bool back;
};
cudaError_t launch_rotate_heads(const RotateHeadsParams& params, cudaStream_t stream);

struct NormaliseParams {
  float* out;  // [n_rows, width]
  const float *x, *weight;
  int64_t n_rows;
  int width;
  float eps;
};
cudaError_t launch_normalise(const NormaliseParams& params, cudaStream_t stream);

struct NormaliseBackParams {
  float* dy;        // [n_rows, width]; replaced by the gradient of x
  float* d_weight;  // [width]; the weight's gradient is added to it; null: it is not wanted
  float* partials;  // scratch, normalise_back_partials() floats
  const float *x, *weight;
  int64_t n_rows;
  int width;
  float eps;
};
int64_t normalise_back_partials(int64_t n_rows, int64_t width);
// Returns cudaErrorInvalidValue for a width above 1024.
cudaError_t launch_normalise_back(const NormaliseBackParams& params, cudaStream_t stream);

struct DivergenceParams {
  float* losses;         // [n_heads, rows.n]
  float* scores;         // [n_heads, rows.n, n_blocks]; replaced by the gradient
  const float* truth;    // [n_heads, rows.n, n_blocks]
  const float* weights;  // [rows.n], which multiply the gradients of rows; null: all are 1
  ScoredRows rows;
  int64_t n_heads, n_blocks;
  float scale;
};
cudaError_t launch_divergence(const DivergenceParams& params, cudaStream_t stream);

cudaError_t launch_fill_numbers(float* out, float value, int64_t n, cudaStream_t stream);

struct SumsOfSquaresParams {
  double* out;       // [n_rows]
  double* partials;  // scratch, sums_of_squares_partials() doubles
  const float* x;    // [n_rows, width]
  int64_t n_rows, width;
  int64_t n;  // of each row, the first n numbers
};
int64_t sums_of_squares_partials(int64_t n_rows, int64_t n);
// Returns an error for more than 65535 rows.
cudaError_t launch_sums_of_squares(const SumsOfSquaresParams& params, cudaStream_t stream);

struct AdamWParams {
  float *parameters, *moments, *second_moments;
  const float* gradients;
  int64_t n;
  // As in Distillation::adamw(): `rate` and `second` have the corrections of the moments' bias.
  float rate, second, decay, beta1, beta2, epsilon, gradient_scale;
};
cudaError_t launch_adamw(const AdamWParams& params, cudaStream_t stream);

}  // namespace seer::cuda
