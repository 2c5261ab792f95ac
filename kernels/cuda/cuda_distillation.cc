#include "kernels/cuda/cuda_distillation.h"

#include <cassert>
#include <cmath>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/attention/block_maxima/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/distillation/learn.h"
#include "kernels/cuda/distillation/params.h"

namespace seer::cuda {
namespace {

constexpr const char* kScratch = "sums of gates that learn";

RowMaxima row_maxima(const Tensor& maxima, const Tensor& log_sums, int64_t first_token, int64_t page_tokens) {
  RowMaxima r = {};
  r.maxima = floats(maxima);
  r.log_sums = floats(log_sums);
  r.row_capacity = maxima.dim(2);
  r.n_tokens = maxima.dim(1);
  r.start = first_token;
  r.n_heads = as_int(maxima.dim(0));
  r.page_tokens = as_int(page_tokens);
  return r;
}

}  // namespace

CudaDistillation::CudaDistillation(CudaBackend* backend)
    : backend_(*backend), stream_(static_cast<cudaStream_t>(backend->stream()->stream)) {}

int64_t CudaDistillation::maxima_width(int64_t n_blocks) const { return maxima_row_capacity(n_blocks); }

void CudaDistillation::attention_with_maxima(const Tensor& out, const Tensor& maxima, const Tensor& log_sums,
                                             const Tensor& q, const PagedKv& kv, const Segment& part) {
  assert(part.row == part.start && maxima.dim(0) == q.dim(1) && maxima.dim(1) == part.n_tokens);
  backend_.prefill_with_maxima(out, q, kv, part, {floats(maxima), floats(log_sums), maxima.dim(2)});
}

void CudaDistillation::prefill_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                                     const ScoredRows& rows, int64_t page_tokens, int64_t first_token) {
  assert(truth.dim(0) == maxima.dim(0) && truth.dim(1) == rows.n);
  check(launch_prefill_truth(
            {floats(truth), row_maxima(maxima, log_sums, first_token, page_tokens), rows, truth.dim(2)},
            stream_),
        "prefill_truth");
}

void CudaDistillation::decode_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                                    const ScoredRows& rows, int64_t first_token) {
  assert(maxima.dim(0) % truth.dim(0) == 0 && truth.dim(1) == rows.n);
  check(launch_decode_truth({floats(truth), row_maxima(maxima, log_sums, first_token, rows.per_block), rows,
                             truth.dim(2), as_int(truth.dim(0))},
                            stream_),
        "decode_truth");
}

void CudaDistillation::split_heads(const Tensor& out, const Tensor& in) {
  assert(in.dtype == DType::kBF16 && in.dim(0) >= out.dim(1) && in.dim(1) == out.dim(0) &&
         in.dim(2) == out.dim(2));
  check(launch_split_heads({floats(out), in.data, out.dim(0), out.dim(1), out.dim(2)}, stream_),
        "split_heads");
}

void CudaDistillation::group_queries(const Tensor& out, const Tensor& qkv, const HeadNorms& norms,
                                     const ScoredRows& rows, int64_t n_heads, int64_t d_head) {
  GroupQueriesParams p = {};
  p.out = floats(out);
  p.qkv = qkv.data;
  p.norm = norms ? norms.q.data : nullptr;
  p.qkv_width = qkv.dim(1);
  p.rows = rows;
  p.eps = static_cast<float>(norms.eps);
  p.n_kv_heads = as_int(out.dim(0));
  p.group = as_int(n_heads / out.dim(0));
  p.d_head = as_int(d_head);
  p.mean = p.group > 1 && out.dim(2) == d_head;
  assert(qkv.dtype == DType::kBF16 && out.dim(1) == rows.n && (p.mean || out.dim(2) == p.group * d_head));
  check(launch_group_queries(p, stream_), "group_queries");
}

void CudaDistillation::multiply(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                                bool accumulate) {
  products_.run(out, a, b, scale, accumulate, stream_);
}

void CudaDistillation::rotate_heads(const Tensor& x, const RopeTable& rope, bool back) {
  const int64_t half = rope.cos.dim(1);
  assert(rope.cos.dim(0) == x.dim(1) && 2 * half <= x.dim(2));
  check(launch_rotate_heads(
            {floats(x), floats(rope.cos), floats(rope.sin), x.dim(0), x.dim(1), x.dim(2), as_int(half), back},
            stream_),
        "rotate_heads");
}

void CudaDistillation::normalise(const Tensor& out, const Tensor& x, const Tensor& weight, float eps) {
  const int64_t width = weight.numel();
  check(launch_normalise({floats(out), floats(x), floats(weight), x.numel() / width, as_int(width), eps},
                         stream_),
        "normalise");
}

void CudaDistillation::normalise_back(const Tensor& dy, const Tensor& d_weight, const Tensor& x,
                                      const Tensor& weight, float eps) {
  NormaliseBackParams p = {};
  p.width = as_int(weight.numel());
  p.n_rows = x.numel() / p.width;
  p.dy = floats(dy);
  p.d_weight = d_weight ? floats(d_weight) : nullptr;
  const int64_t n_partials = normalise_back_partials(p.n_rows, p.width);
  p.partials =
      static_cast<float*>(scratch_.reserve(n_partials * static_cast<int64_t>(sizeof(float)), kScratch));
  p.x = floats(x);
  p.weight = floats(weight);
  p.eps = eps;
  check(launch_normalise_back(p, stream_), "normalise_back");
}

void CudaDistillation::kl_divergence(const Tensor& losses, const Tensor& scores, const Tensor& truth,
                                     const Tensor& weights, const ScoredRows& rows, float scale) {
  assert(scores.dim(1) == rows.n && losses.numel() == scores.dim(0) * rows.n &&
         truth.numel() == scores.numel() && (!weights || weights.numel() == rows.n));
  check(launch_divergence({floats(losses), floats(scores), floats(truth), weights ? floats(weights) : nullptr,
                           rows, scores.dim(0), scores.dim(2), scale},
                          stream_),
        "kl_divergence");
}

// Each operation on parameters calls use(), because a thread may call it before any other operation.

void CudaDistillation::fill(const Tensor& out, float value) {
  backend_.use();
  check(launch_fill_numbers(floats(out), value, out.numel(), stream_), "fill");
}

void CudaDistillation::copy(const Tensor& out, const Tensor& in) {
  assert(out.numel() == in.numel());
  backend_.use();
  check(
      cudaMemcpyAsync(out.data, in.data, static_cast<size_t>(in.nbytes()), cudaMemcpyDeviceToDevice, stream_),
      "cudaMemcpyAsync");
}

void CudaDistillation::write(const Tensor& out, const float* host) {
  backend_.use();
  check(cudaMemcpyAsync(out.data, host, static_cast<size_t>(out.nbytes()), cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync");
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void CudaDistillation::sums_of_squares(double* sums, const Tensor& x, int64_t n) {
  assert(n <= x.dim(1));
  backend_.use();
  const int64_t n_rows = x.dim(0), n_partials = sums_of_squares_partials(n_rows, n);
  constexpr auto kBytes = static_cast<int64_t>(sizeof(double));
  auto* out = static_cast<double*>(scratch_.reserve((n_rows + n_partials) * kBytes, kScratch));
  check(launch_sums_of_squares({out, out + n_rows, floats(x), n_rows, x.dim(1), n}, stream_),
        "sums_of_squares");
  backend_.read(sums, Tensor(out, DType::kU8, {n_rows * kBytes}));
}

void CudaDistillation::adamw(const Tensor& parameters, const Tensor& gradients, const Tensor& moments,
                             const Tensor& second_moments, const AdamWStep& step) {
  backend_.use();
  const auto number = static_cast<double>(step.number);
  AdamWParams p = {};
  p.parameters = floats(parameters);
  p.moments = floats(moments);
  p.second_moments = floats(second_moments);
  p.gradients = floats(gradients);
  p.n = parameters.numel();
  p.rate = static_cast<float>(step.learning_rate / (1.0 - std::pow(step.beta1, number)));
  p.second = static_cast<float>(1.0 / (1.0 - std::pow(step.beta2, number)));
  p.decay = static_cast<float>(1.0 - step.learning_rate * step.weight_decay);
  p.beta1 = static_cast<float>(step.beta1);
  p.beta2 = static_cast<float>(step.beta2);
  p.epsilon = static_cast<float>(step.epsilon);
  p.gradient_scale = static_cast<float>(step.gradient_scale);
  check(launch_adamw(p, stream_), "adamw");
}

}  // namespace seer::cuda
