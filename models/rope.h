// Rotary position embedding frequencies, as transformers' ROPE_INIT_FUNCTIONS computes them.
#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace seer {

struct RopeFrequencies {
  std::vector<double> inv_freq;    // [d_head / 2]
  double attention_scaling = 1.0;  // multiplies cos and sin (yarn)
};

// `seq_len` matters only for dynamic scaling, whose base grows with it beyond the original context.
RopeFrequencies rope_frequencies(const RopeConfig& rope, int64_t d_head, int64_t seq_len);
// Returns "default", or "llama3, factor 8" and so on, for people.
std::string rope_description(const RopeConfig& rope);

}  // namespace seer
