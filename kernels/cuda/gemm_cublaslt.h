// Matrix products by cuBLASLt, in row-major terms. A plan is made once for each shape, and kept.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>

#include "kernels/cuda/device_memory.h"

namespace seer::cuda {

// The type of x and w. E4M3 numbers have scales in float32: one for each row of x and of w, or one for each
// row and 128 columns.
enum class GemmInputs : uint8_t { kBf16, kE4M3Rows, kE4M3Groups };

// The scales of E4M3 inputs: [n] and [d_out], or [d_in / 128, n] and [d_in / 128, d_out].
struct GemmScales {
  const float* x = nullptr;
  const float* w = nullptr;
};

// out (+)= x w^T (+ bias), accumulated in float32.
struct GemmShape {
  GemmInputs inputs = GemmInputs::kBf16;
  int64_t n = 0;                           // rows of x and out
  int64_t d_in = 0;                        // columns of x
  int64_t d_out = 0;                       // columns of out
  int64_t ld_x = 0, ld_w = 0, ld_out = 0;  // elements from row to row
  bool float_out = false;
  bool accumulate = false;
  bool bias = false;

  // NOLINT, because clang-tidy 14 takes the 0 with which the result is compared for a null pointer.
  friend auto operator<=>(const GemmShape&, const GemmShape&) = default;  // NOLINT(modernize-use-nullptr)
};

class GemmCublasLt {
 public:
  GemmCublasLt();
  ~GemmCublasLt();
  GemmCublasLt(const GemmCublasLt&) = delete;
  GemmCublasLt& operator=(const GemmCublasLt&) = delete;

  // Throws Error{kDevice} if cuBLASLt fails or has no algorithm for the shape. E4M3 needs a Hopper GPU, and
  // d_in, d_out and rows in memory that are multiples of 16.
  void run(void* out, const void* x, const void* w, const void* bias, const GemmScales& scales,
           const GemmShape& shape, cudaStream_t stream);

 private:
  struct Plan;
  const Plan& plan(const GemmShape& shape);

  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_;
  std::map<GemmShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace seer::cuda
