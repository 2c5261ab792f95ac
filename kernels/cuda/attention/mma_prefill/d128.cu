#include "kernels/cuda/attention/mma_prefill/launch.cuh"

namespace seer::cuda {

template cudaError_t launch_d_head<128>(const PrefillParams& params, cudaStream_t stream);

}  // namespace seer::cuda
