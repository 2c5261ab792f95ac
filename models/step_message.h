// A DecoderStep as bytes, for the ranks that compute their shard of it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/decoder.h"

namespace seer {

// Writes the part of a step that the other ranks need to `out`, whose memory is used again. Callbacks are not
// part of it.
void pack_step(const DecoderStep& step, int64_t page_tokens, std::vector<std::byte>* out);

// A step that was packed, with the memory into which it points.
class ReceivedStep {
 public:
  // Throws Error{kDevice} if the bytes are not a step.
  void read(std::span<const std::byte> bytes, int64_t page_tokens);
  // Valid until the next read().
  const DecoderStep& step() const { return step_; }

 private:
  std::vector<int32_t> ids_;
  std::vector<Segment> segments_;  // prefills, then decodes
  std::vector<std::vector<int32_t>> tables_;
  std::vector<PrefillPlan> plans_;
  std::vector<int64_t> logit_rows_;
  std::vector<DecodeRule> decode_rules_;
  DecoderStep step_;
};

}  // namespace seer
