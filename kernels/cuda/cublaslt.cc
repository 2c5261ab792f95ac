#include "kernels/cuda/cublaslt.h"

#include <array>

#include "kernels/cuda/shared_library.h"

namespace seer::cuda {

CublasLt::CublasLt() {
  // Tries the loader's search path first, then the path that the build found.
  const SharedLibrary library(
      std::array{SEER_CUBLASLT_SONAME, SEER_CUBLASLT_LIBRARY}, ErrorKind::kDevice,
      "products on a GPU need cuBLASLt",
      "Install the CUDA Toolkit's cuBLAS (libcublas), or name its folder in LD_LIBRARY_PATH.");
  library.find(create, "cublasLtCreate");
  library.find(destroy, "cublasLtDestroy");
  library.find(status_string, "cublasLtGetStatusString");
  library.find(matmul, "cublasLtMatmul");
  library.find(algo_get_heuristic, "cublasLtMatmulAlgoGetHeuristic");
  library.find(desc_create, "cublasLtMatmulDescCreate");
  library.find(desc_destroy, "cublasLtMatmulDescDestroy");
  library.find(desc_set_attribute, "cublasLtMatmulDescSetAttribute");
  library.find(preference_create, "cublasLtMatmulPreferenceCreate");
  library.find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library.find(preference_set_attribute, "cublasLtMatmulPreferenceSetAttribute");
  library.find(layout_create, "cublasLtMatrixLayoutCreate");
  library.find(layout_destroy, "cublasLtMatrixLayoutDestroy");
  library.find(layout_set_attribute, "cublasLtMatrixLayoutSetAttribute");
}

CublasLt& cublaslt() {
  static CublasLt functions;
  return functions;
}

}  // namespace seer::cuda
