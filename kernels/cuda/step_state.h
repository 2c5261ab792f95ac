// The ids, positions and page tables that a step's kernels read. They go to the device in one copy. Their
// offsets depend only on the step's counts, so that a recorded step finds them in the same places.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/step.h"

namespace seer::cuda {

class StepState {
 public:
  StepState();
  ~StepState();
  StepState(const StepState&) = delete;
  StepState& operator=(const StepState&) = delete;

  // Makes room for every step within the limits. Throws Error{kMemory}.
  void prepare(const StepLimits& limits);
  // Copies the step's input to the device, in the order of `stream`. `in` is not read after this call.
  void begin(const StepInput& in, int64_t page_tokens, cudaStream_t stream);

  // The event of the end of the last begin()'s copy; the next begin() waits for it.
  cudaEvent_t copied() const { return copied_; }

  // Counts of the last begin(). The step's decodes have consecutive rows from first_decode_row() on.
  int64_t n_ids() const { return rows_at_; }
  int64_t n_logit_rows() const { return positions_at_ - rows_at_; }
  int64_t n_decodes() const { return offsets_at_ - positions_at_; }
  int64_t first_decode_row() const { return first_decode_row_; }
  // The length class of the decode that attends to the most keys on a GPU. longest_decode() is for attention
  // to all keys, and longest_list() for attention to the keys that the decodes' rules keep, for which a
  // threshold counts as keeping all. If ranks divide the keys, these are the classes of the rank that has the
  // most, and so the same on every rank.
  int64_t longest_decode() const { return longest_decode_; }
  int64_t longest_list() const { return longest_list_; }

  // Device pointers, valid until the next begin().
  const int32_t* ids() const { return device_ints(0); }
  const int32_t* logit_rows() const { return device_ints(rows_at_); }
  // One element for each of the step's decodes.
  const int32_t* decode_positions() const { return device_ints(positions_at_); }
  const int32_t* decode_table_offsets() const { return device_ints(offsets_at_); }  // into tables()
  const int32_t* tables() const { return device_ints(tables_at_); }
  // One element for each of the step's decodes. If the step gives no rules, all of them are dense.
  const DecodeGateRule* decode_rules() const {
    return reinterpret_cast<const DecodeGateRule*>(device_ints(rules_at_));
  }
  // One element for each of the step's decode_parts. A position is the last key's, or -1 if there are no
  // keys.
  const int32_t* part_positions() const { return device_ints(part_positions_at_); }
  const int32_t* part_table_offsets() const { return device_ints(part_offsets_at_); }  // into tables()
  // Returns the page table of a prefill segment of the step. `segment` is that segment or a part of it.
  const int32_t* prefill_table(const Segment& segment) const;

 private:
  const int32_t* device_ints(int64_t at) const { return device_.as<int32_t>() + at; }

  PinnedMemory host_;
  DeviceMemory device_;
  int64_t capacity_ = 0;  // ints
  cudaEvent_t copied_ = nullptr;
  // Where each list begins in device_; ids begin at 0.
  int64_t rows_at_ = 0, positions_at_ = 0, offsets_at_ = 0;
  int64_t rules_at_ = 0, part_positions_at_ = 0, part_offsets_at_ = 0, tables_at_ = 0;
  int64_t first_decode_row_ = 0;
  int64_t longest_decode_ = 0, longest_list_ = 0;
  struct PrefillTable {
    int64_t row, end;  // the segment's rows, by which its table is found
    int64_t at;
  };
  std::vector<PrefillTable> prefill_tables_;
};

}  // namespace seer::cuda
