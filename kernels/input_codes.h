// E4M3 numbers (float8_e4m3fn), and the rounding of a product's inputs that a quantised format asks for.
#pragma once

#include <cstdint>

#include "kernels/linear_weights.h"

namespace seer {

inline constexpr float kLargestE4M3 = 448.0F;
// The least scale of a token's inputs, the same as vLLM's. It keeps a token of zeros from a division by zero.
inline constexpr float kLeastE4M3Scale = 1.0F / (kLargestE4M3 * 512.0F);

// Returns the nearest E4M3 number, ties to even. Numbers beyond the largest become the largest, and NaN stays
// NaN.
uint8_t to_e4m3(float x);
float from_e4m3(uint8_t code);

// Rounds one token's n inputs: out[i] is the code times the scale. `codes` must not be kNone. For a token of
// zeros, the scale is small but not zero.
void round_inputs(float* out, const float* x, int64_t n, InputCodes codes, float input_scale);

}  // namespace seer
