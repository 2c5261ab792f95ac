#include "kernels/cuda/distillation/product.h"

#include <cassert>
#include <string>

#include "kernels/cuda/cublaslt.h"

namespace seer::cuda {
namespace {

constexpr int64_t kGateWorkspaceBytes = int64_t{32} << 20;
constexpr uint32_t kMostAlignment = 256;  // cuBLASLt treats all larger ones alike

}  // namespace

// cuBLASLt is column-major. It computes out^T [cols, rows] = b^T a^T, so b is its A and a is its B. A matrix
// whose rows are contiguous is seen by cuBLASLt as its transpose, as this needs; a matrix that is transposed
// in memory is not, and takes the operation T.
struct MatrixProducts::Plan {
  LtOperation operation;
  LtLayout a, b, c;
  cublasLtMatmulAlgo_t algorithm;

  Plan(cublasLtHandle_t handle, const Shape& s) {
    check(cublaslt().desc_create(&operation.value, CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    set_operation(CUBLASLT_MATMUL_DESC_TRANSA, s.b.transposed);
    set_operation(CUBLASLT_MATMUL_DESC_TRANSB, s.a.transposed);
    make_layout(&a, s.b, s.cols, s.inner, s.n);
    make_layout(&b, s.a, s.inner, s.rows, s.n);
    make_layout(&c, s.out, s.cols, s.rows, s.n);

    LtPreference preference;
    check(cublaslt().preference_create(&preference.value), "cublasLtMatmulPreferenceCreate");
    prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<size_t>(kGateWorkspaceBytes));
    // Partial sums go to the workspace, and are added up afterwards; the output never collects them.
    prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.b.alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.a.alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.out.alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.out.alignment);
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    const cublasStatus_t status = cublaslt().algo_get_heuristic(
        handle, operation.value, a.value, b.value, c.value, c.value, preference.value, 1, &result, &found);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0))
      throw Error(ErrorKind::kDevice, "cuBLASLt has no algorithm for " + std::to_string(s.n) +
                                          " float32 products of [" + std::to_string(s.rows) + ", " +
                                          std::to_string(s.inner) + "] and [" + std::to_string(s.inner) +
                                          ", " + std::to_string(s.cols) + "]");
    check(status, "cublasLtMatmulAlgoGetHeuristic");
    algorithm = result.algo;
  }

 private:
  void set_operation(cublasLtMatmulDescAttributes_t attribute, bool transposed) const {
    const int32_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    check(cublaslt().desc_set_attribute(operation.value, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  }
  template <class T>
  static void prefer(const LtPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
                     T value) {
    check(cublaslt().preference_set_attribute(preference.value, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  }
  // `rows` and `cols` are those of the operand that the product takes, after the operation.
  static void make_layout(LtLayout* out, const Layout& in, int64_t rows, int64_t cols, int64_t n) {
    const auto a = static_cast<uint64_t>(in.transposed ? cols : rows),
               b = static_cast<uint64_t>(in.transposed ? rows : cols);
    check(cublaslt().layout_create(&out->value, CUDA_R_32F, a, b, in.row_stride),
          "cublasLtMatrixLayoutCreate");
    const auto count = static_cast<int32_t>(n);
    check(
        cublaslt().layout_set_attribute(out->value, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
        "cublasLtMatrixLayoutSetAttribute");
    check(cublaslt().layout_set_attribute(out->value, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &in.stride,
                                          sizeof in.stride),
          "cublasLtMatrixLayoutSetAttribute");
  }
};

MatrixProducts::MatrixProducts() : workspace_(kGateWorkspaceBytes, "products of gates that learn") {
  check(cublaslt().create(&handle_), "cublasLtCreate");
}

MatrixProducts::~MatrixProducts() { cublaslt().destroy(handle_); }

MatrixProducts::Layout MatrixProducts::layout_of(const Matrices& m) {
  const auto address = reinterpret_cast<uintptr_t>(m.data);
  uint32_t alignment = kMostAlignment;
  while (address % alignment != 0) alignment /= 2;
  return {m.row_stride, m.stride, m.transposed, alignment};
}

const MatrixProducts::Plan& MatrixProducts::plan(const Shape& shape) {
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (!plan) plan = std::make_unique<Plan>(handle_, shape);
  return *plan;
}

void MatrixProducts::run(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                         bool accumulate, cudaStream_t stream) {
  assert(!out.transposed && out.n == a.n && out.n == b.n && out.rows == a.rows && out.cols == b.cols &&
         a.cols == b.rows && a.cols > 0);
  if (out.n == 0 || out.rows == 0 || out.cols == 0) return;
  const Plan& p =
      plan({out.n, out.rows, out.cols, a.cols, accumulate, layout_of(out), layout_of(a), layout_of(b)});
  const float beta = accumulate ? 1.0F : 0.0F;
  check(cublaslt().matmul(handle_, p.operation.value, &scale, b.data, p.a.value, a.data, p.b.value, &beta,
                          out.data, p.c.value, out.data, p.c.value, &p.algorithm, workspace_.get(),
                          static_cast<size_t>(kGateWorkspaceBytes), stream),
        "cublasLtMatmul");
}

}  // namespace seer::cuda
