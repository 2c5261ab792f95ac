// Products of many float32 matrices by cuBLASLt, for gates that learn. A plan is made once for each shape,
// and kept.
//
// Products are computed as CUBLAS_COMPUTE_32F_PEDANTIC: each product and each sum is a float32 operation.
// TF32 would drop 13 of 23 bits of the inputs, and the emulation of float32 by bf16 that newer versions of
// cuBLAS can use for CUBLAS_COMPUTE_32F depends on an environment variable. A sum that is divided among
// thread blocks is added up by a kernel of its own, in an order that depends on the plan alone, so equal
// shapes give equal bits.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>

#include "kernels/cuda/device_memory.h"
#include "kernels/distillation.h"

namespace seer::cuda {

class MatrixProducts {
 public:
  MatrixProducts();
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  // As Distillation::multiply(). Throws Error{kDevice} if cuBLASLt fails or has no algorithm for the shape.
  void run(const Matrices& out, const Matrices& a, const Matrices& b, float scale, bool accumulate,
           cudaStream_t stream);

 private:
  // How a matrix lies in memory. Algorithms depend on the alignment of its address.
  struct Layout {
    int64_t row_stride = 0, stride = 0;
    bool transposed = false;
    uint32_t alignment = 0;  // bytes, a power of 2

    friend auto operator<=>(const Layout&, const Layout&) = default;  // NOLINT(modernize-use-nullptr)
  };
  struct Shape {
    int64_t n = 0, rows = 0, cols = 0, inner = 0;
    bool accumulate = false;
    Layout out, a, b;

    // NOLINT, because clang-tidy 14 takes the 0 with which the result is compared for a null pointer.
    friend auto operator<=>(const Shape&, const Shape&) = default;  // NOLINT(modernize-use-nullptr)
  };
  struct Plan;
  static Layout layout_of(const Matrices& m);
  const Plan& plan(const Shape& shape);

  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_;
  std::map<Shape, std::unique_ptr<Plan>> plans_;
};

}  // namespace seer::cuda
