#include <cassert>

#include "kernels/cuda/attention/prefill_sm80/params.h"

namespace seer::cuda {

template <int kDHead>
cudaError_t launch_d_head(const PrefillSm80Params& params, cudaStream_t stream);

cudaError_t launch_prefill_sm80(const PrefillSm80Params& params, cudaStream_t stream) {
  switch (params.d_head) {
    case 64:
      return launch_d_head<64>(params, stream);
    case 96:
      return launch_d_head<96>(params, stream);
    case 128:
      return launch_d_head<128>(params, stream);
    case 256:
      return launch_d_head<256>(params, stream);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
