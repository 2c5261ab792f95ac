#include "kernels/cuda/copy_stream.h"

#include "kernels/cuda/check.h"

namespace seer::cuda {

void copy_host_rows(cudaMemcpyKind kind, const Tensor& device, std::byte* host, int64_t stride,
                    std::span<const int64_t> rows, cudaStream_t stream) {
  const int64_t bytes = device.nbytes() / device.dim(0);
  const auto size = static_cast<size_t>(bytes), pitch = static_cast<size_t>(stride);
  for (size_t i = 0, end = 0; i < rows.size(); i = end) {
    for (end = i + 1; end < rows.size() && rows[end] == rows[i] + static_cast<int64_t>(end - i);) ++end;
    char* const there = static_cast<char*>(device.data) + rows[i] * bytes;
    std::byte* const here = host + i * pitch;
    const bool to_host = kind == cudaMemcpyDeviceToHost;
    check(to_host ? cudaMemcpy2DAsync(here, pitch, there, size, size, end - i, kind, stream)
                  : cudaMemcpy2DAsync(there, size, here, pitch, size, end - i, kind, stream),
          "cudaMemcpy2DAsync");
  }
}

CopyStream::~CopyStream() {
  if (stream_ == nullptr) return;
  (void)cudaStreamSynchronize(stream_);
  (void)cudaStreamDestroy(stream_);
}

void CopyStream::copy(const Tensor& device, std::byte* host, int64_t stride, std::span<const int64_t> rows) {
  if (rows.empty()) return;
  if (stream_ == nullptr)
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  copy_host_rows(kind_, device, host, stride, rows, stream_);
}

void CopyStream::wait() {
  if (stream_ != nullptr) check(cudaStreamSynchronize(stream_), "a copy between GPU and host");
}

}  // namespace seer::cuda
