#include "kernels/cuda/gemm_cublaslt.h"

#include <string>

#include "kernels/cuda/cublaslt.h"

namespace seer::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{64} << 20;  // enough for Hopper's split-k algorithms

// Up to this many columns, E4M3 products use the fast sums, which lose bits on Hopper's tensor cores. The
// loss is avoided by adding them to float32 sums every 128 columns, which costs 10% of the speed. Up to 4096
// columns the loss is smaller than that of rounding the result to bf16: a relative 1.4e-3 against 1.7e-3, but
// 2.9e-3 at 14336 columns (root mean squares, normal inputs, H200). Groups have no such choice.
constexpr int64_t kFastColumns = 4096;

}  // namespace

// cuBLASLt is column-major. It computes out^T [d_out, n] = w x^T, so w is A and x is B.
struct GemmCublasLt::Plan {
  LtOperation operation;
  LtLayout a, b, c;
  cublasLtMatmulAlgo_t algorithm;

  // `somewhere` is any device memory: the search for an algorithm refuses scales without an address.
  Plan(cublasLtHandle_t handle, const GemmShape& s, const void* somewhere) {
    check(cublaslt().desc_create(&operation.value, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (s.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
    }
    if (s.inputs != GemmInputs::kBf16) {
      const auto mode = s.inputs == GemmInputs::kE4M3Rows ? CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F
                                                          : CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
      const bool fast = s.inputs == GemmInputs::kE4M3Rows && s.d_in <= kFastColumns;
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, somewhere);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, somewhere);
      set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<int8_t>(fast ? 1 : 0));
    }
    const auto rows = [](int64_t x) { return static_cast<uint64_t>(x); };
    const cudaDataType_t type = s.inputs == GemmInputs::kBf16 ? CUDA_R_16BF : CUDA_R_8F_E4M3;
    layout(&a.value, type, rows(s.d_in), rows(s.d_out), s.ld_w);
    layout(&b.value, type, rows(s.d_in), rows(s.n), s.ld_x);
    layout(&c.value, s.float_out ? CUDA_R_32F : CUDA_R_16BF, rows(s.d_out), rows(s.n), s.ld_out);

    LtPreference preference;
    check(cublaslt().preference_create(&preference.value), "cublasLtMatmulPreferenceCreate");
    const auto bytes = static_cast<size_t>(kWorkspaceBytes);
    check(cublaslt().preference_set_attribute(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &bytes, sizeof bytes),
          "cublasLtMatmulPreferenceSetAttribute");
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    check(cublaslt().algo_get_heuristic(handle, operation.value, a.value, b.value, c.value, c.value,
                                        preference.value, 1, &result, &found),
          "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0)
      throw Error(ErrorKind::kDevice, "cuBLASLt has no algorithm for a product of [" + std::to_string(s.n) +
                                          ", " + std::to_string(s.d_in) + "] and [" +
                                          std::to_string(s.d_out) + ", " + std::to_string(s.d_in) + "]");
    algorithm = result.algo;
  }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) const {
    check(cublaslt().desc_set_attribute(operation.value, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  }

 private:
  static void layout(cublasLtMatrixLayout_t* out, cudaDataType_t type, uint64_t rows, uint64_t columns,
                     int64_t ld) {
    check(cublaslt().layout_create(out, type, rows, columns, ld), "cublasLtMatrixLayoutCreate");
  }
};

GemmCublasLt::GemmCublasLt() : workspace_(kWorkspaceBytes, "cuBLASLt's workspace") {
  check(cublaslt().create(&handle_), "cublasLtCreate");
}

GemmCublasLt::~GemmCublasLt() { cublaslt().destroy(handle_); }

const GemmCublasLt::Plan& GemmCublasLt::plan(const GemmShape& shape) {
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (!plan) plan = std::make_unique<Plan>(handle_, shape, workspace_.get());
  return *plan;
}

void GemmCublasLt::run(void* out, const void* x, const void* w, const void* bias, const GemmScales& scales,
                       const GemmShape& shape, cudaStream_t stream) {
  const Plan& p = plan(shape);
  if (shape.bias) p.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  if (shape.inputs != GemmInputs::kBf16) {
    p.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales.w);
    p.set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales.x);
  }
  const float alpha = 1.0F, beta = shape.accumulate ? 1.0F : 0.0F;
  check(cublaslt().matmul(handle_, p.operation.value, &alpha, w, p.a.value, x, p.b.value, &beta, out,
                          p.c.value, out, p.c.value, &p.algorithm, workspace_.get(),
                          static_cast<size_t>(kWorkspaceBytes), stream),
        "cublasLtMatmul");
}

}  // namespace seer::cuda
