// E4M3 numbers (float8_e4m3fn), and inputs of a product rounded as a quantised format says.
#pragma once

#include <cstdint>

#include "kernels/linear_weights.h"

namespace seer {

inline constexpr float kLargestE4M3 = 448.0F;
// vLLM's least scale of a token's inputs. It keeps a token of zeros from a division by zero.
inline constexpr float kLeastE4M3Scale = 1.0F / (kLargestE4M3 * 512.0F);

// The nearest E4M3 number, the even one of two; what lies beyond the largest becomes the largest. NaN stays
// NaN.
uint8_t to_e4m3(float x);
float from_e4m3(uint8_t code);

// Rounds one token's n inputs: out[i] is code times scale. The format's scale of a token of zeros is small
// and not zero. `codes` is not kNone.
void round_inputs(float* out, const float* x, int64_t n, InputCodes codes, float input_scale);

}  // namespace seer
