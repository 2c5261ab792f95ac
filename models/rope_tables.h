// The cosines and sines of a step: of each token's position, and of each gate block's.
#pragma once

#include <cstdint>

#include "models/decoder_step.h"
#include "models/rope.h"
#include "models/workspace.h"

namespace seer {

// One thread at a time. Holds references; the tables themselves lie in the workspace.
class RopeTables {
 public:
  RopeTables(Backend* backend, const ModelConfig& config, const StepLimits& limits, Workspace* workspace);

  // Fills both tables for the step that begin_step has opened.
  void prepare(const DecoderStep& step);
  RopeTable tokens(int64_t n_tokens) const;
  // Rows of blocks, in the order of the step's prefill segments.
  RopeTable blocks(int64_t first_row, int64_t n_rows) const;
  // Rotations by dynamic scaling change with a sequence's length.
  bool depends_on_length() const { return config_.rope.type == RopeConfig::Type::kDynamic; }

 private:
  RopeFrequencies frequencies(int64_t seq_len) const;
  void prepare_decodes(const DecoderStep& step);

  Backend* backend_;
  const ModelConfig& config_;
  int64_t page_tokens_;
  Workspace* workspace_;
  RopeFrequencies fixed_;  // for every length, but for dynamic scaling
};

}  // namespace seer
