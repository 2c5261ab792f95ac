// Rotary position embedding of one head (Su et al., 2021, arXiv:2104.09864; halves paired as in HF Llama).
#pragma once

#include <cstdint>

namespace seer {

// Rotates the first 2 * half components of x; `out` may be `x`.
inline void rotate(float* out, const float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    out[i] = a * cos[i] - b * sin[i];
    out[i + half] = b * cos[i] + a * sin[i];
  }
}

}  // namespace seer
