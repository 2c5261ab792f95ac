// Weights for measuring a model's shape without its checkpoint: the same values on every device.
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace seer {

// Returns value i of a tensor, uniform in [mean - scale, mean + scale], as bf16 bits (round to nearest even).
// The generator is splitmix64 (Steele, Lea and Flood, 2014, OOPSLA) of a counter.
SEER_HOST_DEVICE inline uint16_t random_bf16(uint64_t seed, uint64_t i, float mean, float scale) {
  uint64_t x = (seed << 40U) + i + 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  x ^= x >> 31U;
  const float unit = static_cast<float>(x >> 40U) * 0x1p-23F - 1.0F;
  union {
    float value;
    uint32_t bits;
  } f = {mean + unit * scale};
  return static_cast<uint16_t>((f.bits + 0x7fffU + ((f.bits >> 16U) & 1U)) >> 16U);
}

}  // namespace seer
