// Copies weights from the host, mostly from mapped files, to the device as bf16. They go through pinned
// buffers, so that reading a file and copying over the bus overlap.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>

#include "kernels/cuda/device_memory.h"
#include "kernels/tensor.h"

namespace seer::cuda {

class Uploader {
 public:
  explicit Uploader(cudaStream_t stream);
  ~Uploader();
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // Copies a tensor to `out`, device memory of host.numel() bf16 values. Returns before the copy has ended;
  // later work in the stream sees it.
  void copy(void* out, const Tensor& host);
  // Does the same for bytes, which are copied unchanged.
  void copy_bytes(void* out, const void* host, int64_t n_bytes);
  // Waits until every copy has ended. Throws Error{kDevice} if one failed.
  void finish();

 private:
  // Calls `send` for each part of the bytes, with the pinned buffer that has it and the offset of its
  // beginning.
  template <class Send>
  void in_parts(const void* host, int64_t n_bytes, const Send& send);

  struct Buffer {
    void reserve(int64_t n_bytes);  // makes room for so many bytes in `host`

    int64_t bytes = 0;  // of `host`
    PinnedMemory host;
    DeviceMemory device;  // for values that are not bf16 yet
    cudaEvent_t free = nullptr;
  };
  cudaStream_t stream_;
  std::array<Buffer, 2> buffers_;
  size_t next_ = 0;
  bool copying_ = false;
};

}  // namespace seer::cuda
