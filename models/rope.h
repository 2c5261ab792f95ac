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

// `seq_len` matters for dynamic scaling alone: beyond the original context the base grows with it.
RopeFrequencies rope_frequencies(const RopeConfig& rope, int64_t d_head, int64_t seq_len);
// "default", or "llama3, factor 8", for people.
std::string rope_description(const RopeConfig& rope);

}  // namespace seer
