// The weights of one matrix product, as the model's files give them and as a backend takes them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace seer {

// y = x W^T + b. W comes in parts whose outputs lie side by side: q, k and v, or gate and up.
struct LinearWeights {
  struct Part {
    Tensor weight;  // [d_out, d_in], in its stored type
    Tensor bias;    // [d_out] or empty
  };
  std::vector<Part> parts;

  int64_t d_in() const { return parts.front().weight.dim(1); }
  int64_t d_out() const {
    int64_t n = 0;
    for (const Part& p : parts) n += p.weight.dim(0);
    return n;
  }
};

}  // namespace seer
