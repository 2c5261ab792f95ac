#include "kernels/cuda/uploader.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/rows.h"

namespace seer::cuda {
namespace {

constexpr int64_t kBufferBytes = int64_t{32} << 20;

}  // namespace

Uploader::Uploader(cudaStream_t stream) : stream_(stream) {
  for (Buffer& b : buffers_) {
    b.host = PinnedMemory(kBufferBytes, "loading weights");
    b.device = DeviceMemory(kBufferBytes, "loading weights");
    check(cudaEventCreateWithFlags(&b.free, cudaEventDisableTiming), "cudaEventCreate");
  }
}

Uploader::~Uploader() {
  if (copying_) (void)cudaStreamSynchronize(stream_);
  for (const Buffer& b : buffers_) (void)cudaEventDestroy(b.free);
}

void Uploader::finish() {
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  copying_ = false;
}

void Uploader::copy(void* out, const Tensor& host) {
  copying_ = true;
  const int64_t size = dtype_bytes(host.dtype), n = host.numel();
  const int64_t per_buffer = kBufferBytes * 8 / dtype_bits(host.dtype);
  for (int64_t done = 0; done < n; done += per_buffer) {
    const int64_t count = std::min(per_buffer, n - done);
    const auto bytes = static_cast<size_t>(count * size);
    Buffer& b = buffers_[next_];
    next_ = (next_ + 1) % buffers_.size();
    check(cudaEventSynchronize(b.free), "cudaEventSynchronize");
    std::memcpy(b.host.get(), static_cast<const char*>(host.data) + done * size, bytes);
    char* to = static_cast<char*>(out) + done * dtype_bytes(DType::kBF16);
    if (host.dtype == DType::kBF16) {
      check(cudaMemcpyAsync(to, b.host.get(), bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    } else {
      check(cudaMemcpyAsync(b.device.get(), b.host.get(), bytes, cudaMemcpyHostToDevice, stream_),
            "cudaMemcpyAsync");
      check(launch_to_bf16(to, b.device.get(), host.dtype, count, stream_), "to_bf16");
    }
    check(cudaEventRecord(b.free, stream_), "cudaEventRecord");
  }
}

}  // namespace seer::cuda
