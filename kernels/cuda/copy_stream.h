// Copies rows of tensors between device and host, on a stream of its own, for a thread that does not run
// steps.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace seer::cuda {

// Copies row rows[i] of `device` to or from host + i * stride, as `kind` says. It may return before the
// copies have ended. Rows that follow one another are one copy.
void copy_host_rows(cudaMemcpyKind kind, const Tensor& device, std::byte* host, int64_t stride,
                    std::span<const int64_t> rows, cudaStream_t stream);

// For one thread at a time. The first copy makes the stream, so that it costs nothing if nothing is copied.
// Only these copies are on the stream, so they wait for no step, and wait() waits for them alone.
class CopyStream {
 public:
  explicit CopyStream(cudaMemcpyKind kind) : kind_(kind) {}
  ~CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  // Begins to copy. The caller has made the device current on this thread.
  void copy(const Tensor& device, std::byte* host, int64_t stride, std::span<const int64_t> rows);
  void wait();  // returns when all rows are copied

 private:
  cudaMemcpyKind kind_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace seer::cuda
