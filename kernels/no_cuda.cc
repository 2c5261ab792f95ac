// Replaces the CUDA backend in a build without it.
#include "kernels/backend.h"
#include "seer/error.h"

namespace seer {

std::unique_ptr<Backend> make_cuda_backend(int, bool) {
  throw Error(ErrorKind::kDevice,
              "this build has no CUDA backend, for nvcc was not found when it was configured; build "
              "it again with the CUDA Toolkit");
}

bool built_with_cuda() { return false; }

int cuda_device_count() { return 0; }

}  // namespace seer
