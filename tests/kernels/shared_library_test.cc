// Libraries that are opened at run time. None of these tests needs a GPU.
#include "kernels/cuda/shared_library.h"

#include <array>
#include <cstdint>

#include "kernels/cuda/cublaslt.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using cuda::cublaslt;
using cuda::SharedLibrary;

TEST_CASE("a shared library that is not there is refused with its purpose, its name and a remedy") {
  const std::array names{"libnowhere.so.1", "/nowhere/libnowhere.so.1"};
  CHECK_THROWS_WITH(
      SharedLibrary(names, ErrorKind::kDevice, "this test needs a library", "Install it."),
      ContainsSubstring(
          "this test needs a library, and libnowhere.so.1 cannot be loaded: libnowhere.so.1: ") &&
          ContainsSubstring(". Install it."));
}

TEST_CASE("a shared library is opened by its second name if the first is not found") {
  const SharedLibrary library(std::array{"libnowhere.so.1", "libm.so.6"}, ErrorKind::kDevice, "", "");
  double (*root)(double) = nullptr;
  library.find(root, "sqrt");
  CHECK(root(2.25) == 1.5);
}

TEST_CASE("a function that a shared library lacks is refused with the names of both") {
  const SharedLibrary library(std::array{"libm.so.6"}, ErrorKind::kUnsupported, "", "");
  void (*function)() = nullptr;
  CHECK_THROWS_WITH(library.find(function, "no_such_function"),
                    "the libm.so.6 that was found is too old: it has no no_such_function");
}

TEST_CASE("cuBLASLt's functions make, change and destroy descriptors, and its errors are named") {
  cuda::LtOperation product;
  cuda::LtLayout layout;
  cuda::LtPreference preference;
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const int32_t count = 3;
  const size_t bytes = 1 << 20;
  CHECK(cublaslt().desc_create(&product.value, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublaslt().desc_set_attribute(product.value, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                      sizeof transposed) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublaslt().layout_create(&layout.value, CUDA_R_16BF, 64, 32, 64) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublaslt().layout_set_attribute(layout.value, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                        sizeof count) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublaslt().preference_create(&preference.value) == CUBLAS_STATUS_SUCCESS);
  CHECK(cublaslt().preference_set_attribute(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                            &bytes, sizeof bytes) == CUBLAS_STATUS_SUCCESS);
  CHECK_THROWS_WITH(
      cuda::check(cublaslt().desc_set_attribute(product.value, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, 1),
                  "a size of one byte"),
      "cuBLASLt failed in a size of one byte: an unsupported value or parameter was passed to the function");
}

}  // namespace
}  // namespace seer::testing
