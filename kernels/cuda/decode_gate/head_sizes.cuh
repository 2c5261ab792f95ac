// One switch over the head sizes that the kernels of gates for decoding are compiled for.
#pragma once

#include <cuda_runtime.h>

#include <cassert>
#include <type_traits>

namespace seer::cuda {

// Calls launch(std::integral_constant<int, d_head>()) and returns what it returns.
template <class Launch>
cudaError_t for_head_size(int d_head, Launch&& launch) {
  switch (d_head) {
    case 64:
      return launch(std::integral_constant<int, 64>());
    case 96:
      return launch(std::integral_constant<int, 96>());
    case 128:
      return launch(std::integral_constant<int, 128>());
    case 256:
      return launch(std::integral_constant<int, 256>());
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
