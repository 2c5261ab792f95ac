// What a step's kernels read beside activations and weights: ids, positions, page tables. Goes to the device
// in one copy, at offsets that depend on the step's counts alone, so that a recorded step finds it there
// again.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/device_memory.h"

namespace seer::cuda {

class StepState {
 public:
  StepState();
  ~StepState();
  StepState(const StepState&) = delete;
  StepState& operator=(const StepState&) = delete;

  // Room for every step within the limits. Throws Error{kMemory}.
  void prepare(const StepLimits& limits);
  // Copies the step's input behind the work in `stream`.
  void begin(const StepInput& in, int64_t page_tokens, cudaStream_t stream);

  // The last begin() has copied the host's input once this has passed; the next begin() waits for it.
  cudaEvent_t copied() const { return copied_; }

  // Device pointers, valid until the next begin().
  const int32_t* ids() const { return device_ints(0); }
  const int32_t* logit_rows() const { return device_ints(rows_at_); }
  // Of the step's decodes from `first`, one of them, on.
  const int32_t* decode_positions(const Segment& first) const {
    return device_ints(positions_at_ + first.row - first_decode_row_);
  }
  const int32_t* decode_table_offsets(const Segment& first) const {  // into tables()
    return device_ints(offsets_at_ + first.row - first_decode_row_);
  }
  const int32_t* tables() const { return device_ints(tables_at_); }
  // Likewise of the step's decode_parts; a position is the last key's, -1 without any.
  const int32_t* part_positions(const Segment& first) const {
    return device_ints(part_positions_at_ + first.row - first_decode_row_);
  }
  const int32_t* part_table_offsets(const Segment& first) const {  // into tables()
    return device_ints(part_offsets_at_ + first.row - first_decode_row_);
  }
  // The page table of one of the step's prefill segments.
  const int32_t* prefill_table(const Segment& segment) const;

 private:
  const int32_t* device_ints(int64_t at) const { return device_.as<int32_t>() + at; }

  PinnedMemory host_;
  DeviceMemory device_;
  int64_t capacity_ = 0;  // ints
  cudaEvent_t copied_ = nullptr;
  int64_t rows_at_ = 0, positions_at_ = 0, offsets_at_ = 0;
  int64_t part_positions_at_ = 0, part_offsets_at_ = 0, tables_at_ = 0;
  int64_t first_decode_row_ = 0;
  struct PrefillTable {
    int64_t row;  // the segment's first row, which names it
    int64_t at;
  };
  std::vector<PrefillTable> prefill_tables_;
};

}  // namespace seer::cuda
