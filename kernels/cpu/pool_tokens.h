// The pools of a gate block.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/block_mask.h"

namespace seer {

// Writes the pools of n_tokens rows of x to out [n_pools, d_head], in the order max, min, avg.
inline void pool_tokens(float* out, const float* x, int64_t stride, int64_t n_tokens, int64_t d_head,
                        const GatePools& pools) {
  const auto fold = [&](auto&& op) {
    std::memcpy(out, x, static_cast<size_t>(d_head) * sizeof(float));
    for (int64_t t = 1; t < n_tokens; ++t)
      for (int64_t d = 0; d < d_head; ++d) out[d] = op(out[d], x[t * stride + d]);
  };
  if (pools.max) {
    fold([](float a, float b) { return a > b ? a : b; });
    out += d_head;
  }
  if (pools.min) {
    fold([](float a, float b) { return a < b ? a : b; });
    out += d_head;
  }
  if (pools.avg) {
    fold([](float a, float b) { return a + b; });
    for (int64_t d = 0; d < d_head; ++d) out[d] /= static_cast<float>(n_tokens);
  }
}

}  // namespace seer
