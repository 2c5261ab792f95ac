// A stream on which another thread than that of the steps copies rows of tensors between device and host.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace seer::cuda {

// Copies row rows[i] of `device`, whose rows have `bytes` bytes each, to or from host + i * stride. Rows that
// follow one another are one copy.
void copy_host_rows(cudaMemcpyKind kind, const Tensor& device, std::byte* host, int64_t stride,
                    std::span<const int64_t> rows, cudaStream_t stream);

// One thread at a time. The stream is made by the first copy, so that it costs nothing where nothing is
// copied. Nothing else is put on it, so a copy waits for no step, and its end is the end of the stream's
// work.
class CopyStream {
 public:
  explicit CopyStream(cudaMemcpyKind kind) : kind_(kind) {}
  ~CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  // The caller has made the device current on this thread.
  void copy(const Tensor& device, std::byte* host, int64_t stride, std::span<const int64_t> rows);
  void wait();  // returns when all rows are copied

 private:
  cudaMemcpyKind kind_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace seer::cuda
