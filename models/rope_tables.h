// The cosines and sines of a step: those of each token's position, and those of each gate block's position.
// If the model has gates for decoding, also those of the first position of each decode's block.
#pragma once

#include <cstdint>

#include "models/decoder_step.h"
#include "models/rope.h"
#include "models/workspace.h"

namespace seer {

// One thread at a time. The constructor's arguments must outlive it. The tables themselves lie in the
// workspace.
class RopeTables {
 public:
  RopeTables(Backend* backend, const ModelConfig& config, const StepLimits& limits, Workspace* workspace);
  // Fills the table of positions within a block, which all steps share. Must be called once, after
  // Backend::prepare(), if the model has gates for decoding, and not otherwise.
  void prepare_blocks();

  // Fills the tables for `step`, which begin_step() must have opened. They are valid until the next call.
  void prepare(const DecoderStep& step);
  // Returns the rows of the step's first n_tokens tokens.
  RopeTable tokens(int64_t n_tokens) const;
  // Returns n_rows rows of gate blocks from first_row on. Rows are in the order of the step's prefill
  // segments.
  RopeTable blocks(int64_t first_row, int64_t n_rows) const;
  // Returns the rotations of the step's blocks that gates for decoding need, from block row first_row on. The
  // block rows of prefill segments come first, and then one row for each decode.
  BlockRopes block_ropes(int64_t first_row = 0) const;
  // Returns whether rotations change with the length of a sequence, as they do under dynamic scaling.
  bool depends_on_length() const { return config_.rope.type == RopeConfig::Type::kDynamic; }

 private:
  RopeFrequencies frequencies(int64_t seq_len) const;
  void prepare_decodes(const DecoderStep& step, int64_t n_block_rows);

  Backend* backend_;
  const ModelConfig& config_;
  int64_t page_tokens_;
  Workspace* workspace_;
  RopeFrequencies fixed_;  // of every length, unless scaling is dynamic
};

}  // namespace seer
