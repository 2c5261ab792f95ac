#include "kernels/cuda/uploader.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/rows.h"

namespace seer::cuda {
namespace {

constexpr int64_t kMostBytes = int64_t{32} << 20;  // of one buffer

}  // namespace

Uploader::Uploader(cudaStream_t stream) : stream_(stream) {
  for (Buffer& b : buffers_)
    check(cudaEventCreateWithFlags(&b.free, cudaEventDisableTiming), "cudaEventCreate");
}

Uploader::~Uploader() {
  if (copying_) (void)cudaStreamSynchronize(stream_);
  for (const Buffer& b : buffers_) (void)cudaEventDestroy(b.free);
}

void Uploader::finish() {
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  copying_ = false;
}

// To pin 32 MiB takes 23 ms, so a buffer has no more room than its parts have needed. It at least doubles,
// because tensors that grow slowly would otherwise pin memory anew each time.
void Uploader::Buffer::reserve(int64_t n_bytes) {
  if (n_bytes <= bytes) return;
  const int64_t wanted = std::min(kMostBytes, std::max(n_bytes, 2 * bytes));
  host = PinnedMemory(wanted, "loading weights");
  bytes = wanted;
}

template <class Send>
void Uploader::in_parts(const void* host, int64_t n_bytes, const Send& send) {
  copying_ = true;
  for (int64_t done = 0; done < n_bytes; done += kMostBytes) {
    const int64_t bytes = std::min(kMostBytes, n_bytes - done);
    Buffer& b = buffers_[next_];
    next_ = (next_ + 1) % buffers_.size();
    check(cudaEventSynchronize(b.free), "cudaEventSynchronize");
    b.reserve(bytes);
    std::memcpy(b.host.get(), static_cast<const char*>(host) + done, static_cast<size_t>(bytes));
    send(b, done, bytes);
    check(cudaEventRecord(b.free, stream_), "cudaEventRecord");
  }
}

void Uploader::copy_bytes(void* out, const void* host, int64_t n_bytes) {
  in_parts(host, n_bytes, [&](const Buffer& b, int64_t done, int64_t bytes) {
    check(cudaMemcpyAsync(static_cast<char*>(out) + done, b.host.get(), static_cast<size_t>(bytes),
                          cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync");
  });
}

void Uploader::copy(void* out, const Tensor& host) {
  if (host.dtype == DType::kBF16) return copy_bytes(out, host.data, host.nbytes());
  const int64_t size = dtype_bytes(host.dtype);  // divides the size of a buffer
  in_parts(host.data, host.nbytes(), [&](Buffer& b, int64_t done, int64_t bytes) {
    (void)b.device.reserve(b.bytes, "loading weights");
    check(cudaMemcpyAsync(b.device.get(), b.host.get(), static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                          stream_),
          "cudaMemcpyAsync");
    check(launch_to_bf16(static_cast<char*>(out) + done / size * dtype_bytes(DType::kBF16), b.device.get(),
                         host.dtype, bytes / size, stream_),
          "to_bf16");
  });
}

}  // namespace seer::cuda
