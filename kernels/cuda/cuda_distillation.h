// The CUDA implementation of Distillation, in the stream of a CudaBackend.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/distillation/product.h"
#include "kernels/distillation.h"

namespace seer::cuda {

class CudaBackend;

class CudaDistillation final : public Distillation {
 public:
  // `backend` must outlive it. The device must be the calling thread's.
  explicit CudaDistillation(CudaBackend* backend);

  int64_t maxima_width(int64_t n_blocks) const override;
  void attention_with_maxima(const Tensor& out, const Tensor& maxima, const Tensor& log_sums, const Tensor& q,
                             const PagedKv& kv, const Segment& part) override;
  void prefill_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                     const ScoredRows& rows, int64_t page_tokens, int64_t first_token) override;
  void decode_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums, const ScoredRows& rows,
                    int64_t first_token) override;
  void split_heads(const Tensor& out, const Tensor& in) override;
  void group_queries(const Tensor& out, const Tensor& qkv, const HeadNorms& norms, const ScoredRows& rows,
                     int64_t n_heads, int64_t d_head) override;
  void multiply(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                bool accumulate) override;
  void rotate_heads(const Tensor& x, const RopeTable& rope, bool back) override;
  void normalise(const Tensor& out, const Tensor& x, const Tensor& weight, float eps) override;
  void normalise_back(const Tensor& dy, const Tensor& d_weight, const Tensor& x, const Tensor& weight,
                      float eps) override;
  void kl_divergence(const Tensor& losses, const Tensor& scores, const Tensor& truth, const Tensor& weights,
                     const ScoredRows& rows, float scale) override;
  void fill(const Tensor& out, float value) override;
  void copy(const Tensor& out, const Tensor& in) override;
  void write(const Tensor& out, const float* host) override;
  void sums_of_squares(double* sums, const Tensor& x, int64_t n) override;
  void adamw(const Tensor& parameters, const Tensor& gradients, const Tensor& moments,
             const Tensor& second_moments, const AdamWStep& step) override;

 private:
  CudaBackend& backend_;
  cudaStream_t stream_;
  MatrixProducts products_;
  DeviceMemory scratch_;  // partial sums
};

}  // namespace seer::cuda
