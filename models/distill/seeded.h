// Random numbers that are a function of a seed and a counter, so that a resumed run draws the same ones.
#pragma once

#include <cstdint>

namespace seer {

// splitmix64 (Steele, Lea and Flood, 2014, OOPSLA) of a counter.
inline uint64_t seeded_bits(uint64_t seed, uint64_t counter) {
  uint64_t x = seed * 0xd1342543de82ef95ULL + counter * 0x9e3779b97f4a7c15ULL + 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

// Returns a number that is uniform in [0, 1).
inline double seeded_unit(uint64_t seed, uint64_t counter) {
  return static_cast<double>(seeded_bits(seed, counter) >> 11U) * 0x1p-53;
}

}  // namespace seer
