// Brings the parameters of sampling to the device in one copy, and receives the ids that are chosen.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/sample.h"

namespace seer::cuda {

class SampleState {
 public:
  // Makes room for this many rows and changes, so that sampling within them allocates nothing. Throws
  // Error{kMemory}.
  void reserve(int64_t n_rows, int64_t n_changes);
  // Copies the rows to the device, in the order of `stream`. The last sampling must have ended. The caller
  // sets the result's `logits`; its other pointers are valid until the next call.
  SampleParams begin(std::span<const SampleRow> rows, cudaStream_t stream);
  // Returns the ids that the kernel wrote; wait for the stream before reading them.
  const int32_t* ids() const { return ids_.as<int32_t>(); }

 private:
  PinnedMemory host_, ids_;
  DeviceMemory device_;
  int64_t n_rows_ = 0, n_bytes_ = 0;  // room
};

}  // namespace seer::cuda
