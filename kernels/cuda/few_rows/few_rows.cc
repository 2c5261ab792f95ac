#include "kernels/cuda/few_rows/few_rows.h"

namespace seer::cuda {
namespace {

bool streams(const Device& device, int64_t n, int64_t d_in) {
  return device.is_hopper() && few_rows_stream_fits(n, d_in, device.max_shared_bytes);
}

}  // namespace

bool few_rows_fits(const Device& device, int64_t n, int64_t d_in) {
  return streams(device, n, d_in) || few_rows_direct_fits(n, d_in, device.max_shared_bytes);
}

cudaError_t launch_few_rows(const FewRowsParams& params, const Device& device, cudaStream_t stream) {
  const auto kernel =
      streams(device, params.n, params.d_in) ? launch_few_rows_stream : launch_few_rows_direct;
  return kernel(params, device.n_multiprocessors, device.max_shared_bytes, stream);
}

}  // namespace seer::cuda
