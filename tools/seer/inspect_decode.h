// seer inspect --prompt-tokens: what the gates choose for the tokens after the prompt, decoded one by one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "seer/engine.h"
#include "tools/seer/decode_dump.h"
#include "tools/seer/decode_summary.h"

namespace seer::cli {

class DecodeInspection {
 public:
  // The tokens from n_prompt to n_tokens - 1 are decoded under `rule`. `dumps` says whether dump() will be
  // written. Throws Error{kUsage} if n_prompt leaves no token to decode.
  DecodeInspection(const Engine& engine, const SparseDecodeRule& rule, int64_t n_prompt, int64_t n_tokens,
                   bool dumps);

  // Sets the fields of a request that are about decoding. The request's callbacks call this object.
  void prepare(EvaluateRequest* request);
  void take_logits(const float* rows, int64_t n_values) {
    if (dump_) dump_->take_logits(rows, n_values);
  }

  int64_t n_prompt() const { return n_prompt_; }
  int64_t n_steps() const { return n_steps_; }
  const SparseDecodeRule& rule() const { return rule_; }
  DecodeDump* dump() { return dump_ ? &*dump_ : nullptr; }

  // The next four need a sparse rule. title() returns "32 tokens decoded after 500 in 9 blocks, budget=128".
  std::string title() const;
  std::string table(double density) const;
  OrderedJson json(double density) const;
  // Writes pictures into the folder, and returns how many.
  int64_t write_maps(const std::string& dir) const;

 private:
  SparseDecodeRule rule_;
  int64_t n_prompt_, n_steps_, block_ = 0;
  bool has_keys_ = false;
  std::optional<DecodeDump> dump_;
  std::vector<DecodeSummary> layers_;
};

}  // namespace seer::cli
