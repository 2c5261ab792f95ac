// What all users of cuBLASLt share: its errors as Seer's, and owners of its descriptors.
#pragma once

#include <cublasLt.h>

#include <string>

#include "seer/error.h"

namespace seer::cuda {

// Throws Error{kDevice} that names the call if it failed.
inline void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice,
                std::string("cuBLASLt failed in ") + what + ": " + cublasLtGetStatusString(status));
}

// A descriptor that is released by its destroy function; cuBLASLt has one for each kind.
template <class T, cublasStatus_t (*kDestroy)(T)>
struct LtHandle {
  T value = nullptr;
  LtHandle() = default;
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;
  ~LtHandle() {
    if (value != nullptr) kDestroy(value);
  }
};
using LtOperation = LtHandle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtLayout = LtHandle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtPreference = LtHandle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

}  // namespace seer::cuda
