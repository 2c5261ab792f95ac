#include "kernels/cuda/gemm_cublaslt.h"

#include <string>

#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{64} << 20;  // enough for Hopper's split-k algorithms

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice,
                std::string("cuBLASLt failed in ") + what + ": " + cublasLtGetStatusString(status));
}

// Released with its destroy function, of which cuBLASLt has one for each kind of descriptor.
template <class T, cublasStatus_t (*kDestroy)(T)>
struct Handle {
  T value = nullptr;
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (value != nullptr) kDestroy(value);
  }
};

}  // namespace

// cuBLASLt is column-major: out^T [d_out, n] = w x^T, so that w is A and x is B.
struct GemmCublasLt::Plan {
  Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation;
  Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> a, b, c;
  cublasLtMatmulAlgo_t algorithm;

  Plan(cublasLtHandle_t handle, const GemmShape& s) {
    check(cublasLtMatmulDescCreate(&operation.value, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (s.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_16BF);
    }
    const auto rows = [](int64_t x) { return static_cast<uint64_t>(x); };
    layout(&a.value, CUDA_R_16BF, rows(s.d_in), rows(s.d_out), s.ld_w);
    layout(&b.value, CUDA_R_16BF, rows(s.d_in), rows(s.n), s.ld_x);
    layout(&c.value, s.float_out ? CUDA_R_32F : CUDA_R_16BF, rows(s.d_out), rows(s.n), s.ld_out);

    Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference;
    check(cublasLtMatmulPreferenceCreate(&preference.value), "cublasLtMatmulPreferenceCreate");
    const auto bytes = static_cast<size_t>(kWorkspaceBytes);
    check(cublasLtMatmulPreferenceSetAttribute(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                               &bytes, sizeof bytes),
          "cublasLtMatmulPreferenceSetAttribute");
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle, operation.value, a.value, b.value, c.value, c.value,
                                         preference.value, 1, &result, &found),
          "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0)
      throw Error(ErrorKind::kDevice, "cuBLASLt has no algorithm for a product of [" + std::to_string(s.n) +
                                          ", " + std::to_string(s.d_in) + "] and [" +
                                          std::to_string(s.d_out) + ", " + std::to_string(s.d_in) + "]");
    algorithm = result.algo;
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    check(cublasLtMatmulDescSetAttribute(operation.value, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  }
  static void layout(cublasLtMatrixLayout_t* out, cudaDataType_t type, uint64_t rows, uint64_t columns,
                     int64_t ld) {
    check(cublasLtMatrixLayoutCreate(out, type, rows, columns, ld), "cublasLtMatrixLayoutCreate");
  }
};

GemmCublasLt::GemmCublasLt() : workspace_(kWorkspaceBytes, "cuBLASLt's workspace") {
  check(cublasLtCreate(&handle_), "cublasLtCreate");
}

GemmCublasLt::~GemmCublasLt() { cublasLtDestroy(handle_); }

const GemmCublasLt::Plan& GemmCublasLt::plan(const GemmShape& shape) {
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (!plan) plan = std::make_unique<Plan>(handle_, shape);
  return *plan;
}

void GemmCublasLt::run(void* out, const void* x, const void* w, const void* bias, const GemmShape& shape,
                       cudaStream_t stream) {
  const Plan& p = plan(shape);
  if (shape.bias)
    check(cublasLtMatmulDescSetAttribute(p.operation.value, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                         sizeof bias),
          "cublasLtMatmulDescSetAttribute");
  const float alpha = 1.0F, beta = shape.accumulate ? 1.0F : 0.0F;
  check(cublasLtMatmul(handle_, p.operation.value, &alpha, w, p.a.value, x, p.b.value, &beta, out, p.c.value,
                       out, p.c.value, &p.algorithm, workspace_.get(), static_cast<size_t>(kWorkspaceBytes),
                       stream),
        "cublasLtMatmul");
}

}  // namespace seer::cuda
