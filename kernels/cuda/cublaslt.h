// What all users of cuBLASLt share: its functions, its errors as Seer's, and owners of its descriptors.
#pragma once

#include <cublasLt.h>

#include <string>

#include "seer/error.h"

namespace seer::cuda {

// The functions of cuBLASLt that are used, without the prefix cublasLt.
struct CublasLt {
  CublasLt();

  decltype(&::cublasLtCreate) create = nullptr;
  decltype(&::cublasLtDestroy) destroy = nullptr;
  decltype(&::cublasLtGetStatusString) status_string = nullptr;
  decltype(&::cublasLtMatmul) matmul = nullptr;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) algo_get_heuristic = nullptr;
  decltype(&::cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&::cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&::cublasLtMatmulDescSetAttribute) desc_set_attribute = nullptr;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set_attribute = nullptr;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&::cublasLtMatrixLayoutSetAttribute) layout_set_attribute = nullptr;
};

// Opens the library at the first call: the loader needs 0.1 s for it, which a program that uses no GPU would
// wait at its start. Throws Error{kDevice} if it cannot be opened; the next call tries again. Thread-safe.
// Tests replace functions, which they do before any other thread calls one.
CublasLt& cublaslt();

// Throws Error{kDevice} that names the call if it failed.
inline void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice,
                std::string("cuBLASLt failed in ") + what + ": " + cublaslt().status_string(status));
}

// A descriptor that is released by its destroy function; cuBLASLt has one for each kind.
template <class T, cublasStatus_t (*CublasLt::*kDestroy)(T)>
struct LtHandle {
  T value = nullptr;
  LtHandle() = default;
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;
  ~LtHandle() {
    if (value != nullptr) (cublaslt().*kDestroy)(value);
  }
};
using LtOperation = LtHandle<cublasLtMatmulDesc_t, &CublasLt::desc_destroy>;
using LtLayout = LtHandle<cublasLtMatrixLayout_t, &CublasLt::layout_destroy>;
using LtPreference = LtHandle<cublasLtMatmulPreference_t, &CublasLt::preference_destroy>;

}  // namespace seer::cuda
