// How rows are to be sampled, brought to the device in one copy, and the ids that come back.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/sample.h"

namespace seer::cuda {

class SampleState {
 public:
  // Room for this many rows and changes, so that sampling within them allocates nothing. Throws
  // Error{kMemory}.
  void reserve(int64_t n_rows, int64_t n_changes);
  // Copies the rows behind the work in `stream`, whose last sampling must be over. Pointers of the result
  // other than the logits' are valid until the next call.
  SampleParams begin(std::span<const SampleRow> rows, cudaStream_t stream);
  // What the kernel wrote, once the stream has been waited for.
  const int32_t* ids() const { return ids_.as<int32_t>(); }

 private:
  PinnedMemory host_, ids_;
  DeviceMemory device_;
  int64_t n_rows_ = 0, n_bytes_ = 0;  // room
};

}  // namespace seer::cuda
