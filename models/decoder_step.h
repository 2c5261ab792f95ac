// The input of one forward step of the decoder, and the statistics that it returns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/backend.h"
#include "models/attn_gate.h"
#include "models/decode_gate.h"

namespace seer {

// How many blocks a prefill segment or a decode kept, summed over layers and heads. If a prompt is divided
// among ranks by its tokens, also how many pages moved, summed over layers.
struct DecoderStats {
  int64_t kept_blocks = 0;
  int64_t causal_blocks = 0;
  int64_t moved_pages = 0;    // pages of keys and values that went to ranks that lacked them
  int64_t movable_pages = 0;  // pages that would have moved if every row were dense

  // Returns the part of the causal blocks that was kept. There must be causal blocks.
  double density() const { return static_cast<double>(kept_blocks) / static_cast<double>(causal_blocks); }
  DecoderStats& operator+=(const DecoderStats& other) {
    kept_blocks += other.kept_blocks;
    causal_blocks += other.causal_blocks;
    moved_pages += other.moved_pages;
    movable_pages += other.movable_pages;
    return *this;
  }
};

// One step's input. Prefill segments come first; each starts on a page boundary.
struct DecoderStep : StepInput {
  std::span<const PrefillPlan> plans;  // one for each of step.prefills
  // Gets logits f32 [n, n_vocab] on the device, of logit_rows[first] and the n - 1 rows after it. If it
  // returns false, the other logits are not computed.
  std::function<bool(int64_t first, const Tensor& logits)> on_logits;
  // Is called in each layer before its attention is started; nothing before that reads or writes the layer's
  // part of the pages. The call may wait until another thread has filled that part. Absent if all pages have
  // their contents. It must be absent if there are several ranks.
  std::function<void(int64_t layer)> before_attention;
  GateObserver on_gate;
  DecodeGateObserver on_decode_gate;
  std::span<DecoderStats> segment_stats;  // written, one for each of step.prefills; may be empty
  // One for each of step.decodes, or empty. They are written if gates chose for any of these decodes. Only
  // layers in which gates choose are counted, and a KV head's blocks count once for its whole group.
  std::span<DecoderStats> decode_stats;
};

// Returns whether gates choose for any of the step's prompts.
inline bool any_sparse(const DecoderStep& step) {
  return std::any_of(step.plans.begin(), step.plans.end(),
                     [](const PrefillPlan& plan) { return plan.select.has_value(); });
}

// Returns whether a token of the step is the last one of its page.
inline bool fills_pages(const Step& step, int64_t page_tokens) {
  const auto fills = [&](const Segment& s) { return s.end() / page_tokens > s.start / page_tokens; };
  return std::any_of(step.prefills.begin(), step.prefills.end(), fills) ||
         std::any_of(step.decodes.begin(), step.decodes.end(), fills);
}

// Returns whether gates choose for any of the step's decodes.
inline bool any_sparse_decode(const StepInput& step) {
  return std::any_of(step.decode_rules.begin(), step.decode_rules.end(),
                     [](const DecodeRule& rule) { return !rule.dense(); });
}

}  // namespace seer
