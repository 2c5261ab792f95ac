// The roles that weights play in a decoder, and the names that a checkpoint gives them.
#pragma once

#include <cstdint>

namespace seer {

enum class WeightRole : uint8_t {
  kEmbedding,
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kQueryNorm,
  kKeyNorm,
  kOutput,
  kMlpNorm,
  kGate,
  kUp,
  kDown,
  kNorm,
  kLmHead,
};

// The module of a role, as the checkpoint spells it, without ".weight" or ".bias". Names of a layer's modules
// are relative to "layers.N.".
struct WeightName {
  WeightRole role;
  const char* name;
};

}  // namespace seer
