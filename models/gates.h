// The gates of a model, of both kinds: gates that choose blocks for prompts, and gates that choose blocks for
// decoded tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/decode_gate_weights.h"
#include "models/gate_weights.h"
#include "models/shard.h"

namespace seer {

// The configurations of a model's gates. Each is null if the model has no gates of that kind.
struct GateConfigs {
  const GateConfig* prefill = nullptr;
  const DecodeGateConfig* decode = nullptr;

  // Returns how many tokens a block has, which is a page; absent without gates.
  std::optional<int64_t> block() const {
    if (prefill != nullptr) return prefill->gate_block;
    if (decode != nullptr) return decode->gate_block;
    return std::nullopt;
  }
};

// The weights of a model's gates. Each is null if the model has no gates of that kind.
struct GateSet {
  const GateWeights* prefill = nullptr;
  const DecodeGateWeights* decode = nullptr;

  GateConfigs configs() const {
    return {prefill == nullptr ? nullptr : &prefill->config, decode == nullptr ? nullptr : &decode->config};
  }
};

class Gates {
 public:
  Gates() = default;
  // Reads the gates in each folder. A folder with a config.json must hold gates of one kind. A folder without
  // one may contain several folders of gates, and all of them are read. Throws as GateWeights::load() does,
  // Error{kFile} if there are two gates of one kind, and Error{kUnsupported} if the two kinds have blocks of
  // different sizes.
  static Gates load(const std::vector<std::string>& dirs, const ModelConfig& model);
  // Returns random gates of the kinds that the seerattn_* keys of `config_path` describe, for measuring.
  static Gates random(const std::string& config_path, const ModelConfig& model, uint64_t seed);
  // Drops the weights of heads that are not this rank's. Throws Error{kUnsupported} if there are gates for
  // decoding and more ranks than KV heads.
  void keep(const Shard& shard);

  GateSet set() const { return {prefill_ ? &*prefill_ : nullptr, decode_ ? &*decode_ : nullptr}; }
  GateConfigs configs() const { return set().configs(); }

 private:
  void add(const std::string& dir, const ModelConfig& model);
  void check_blocks(const std::string& origin) const;

  std::optional<GateWeights> prefill_;
  std::optional<DecodeGateWeights> decode_;
};

}  // namespace seer
