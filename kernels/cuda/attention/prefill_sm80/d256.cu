#include "kernels/cuda/attention/prefill_sm80/launch.cuh"

namespace seer::cuda {

template cudaError_t launch_d_head<256>(const PrefillSm80Params& params, cudaStream_t stream);

}  // namespace seer::cuda
