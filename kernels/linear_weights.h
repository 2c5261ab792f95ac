// The weights of one matrix product, as the model's files give them and as a backend takes them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace seer {

// How a format rounds the inputs of a product whose weights it quantises. Each rounded input is a code times
// a scale. The scale is the largest magnitude among the inputs that share it, divided by the largest code
// (448 for E4M3, 127 for int8).
enum class InputCodes : uint8_t {
  kNone,          // inputs are used as they are
  kE4M3Token,     // one scale for each token
  kE4M3Token128,  // one for each token and each 128 inputs
  kE4M3Static,    // LinearWeights::Part::input_scale, for all tokens; codes saturate
  kI8Token,       // one scale for each token
};

// y = x W^T + b. W comes in parts whose outputs lie side by side: q, k and v, or gate and up.
//
// A quantised weight is a matrix of codes, each of which stands for (code - zero) * scale. `group` inputs
// that follow one another share an output's scale and zero.
struct LinearWeights {
  struct Part {
    Tensor weight;  // [d_out, d_in]: F32, F16 or BF16, or codes: F8_E4M3, I8 or U4
    Tensor bias;    // [d_out] or empty
    // The members below are used only if the weight is quantised.
    Tensor scale = {};  // F32 [d_out, n_groups()]; empty: the weight is not quantised
    Tensor zero = {};   // U8 [d_out, n_groups()]; empty: 8 for U4, 0 for the others
    // I32 [d_in], a permutation: column j is multiplied with input input_order[j]. Empty: with input j.
    Tensor input_order = {};
    int64_t group = 0;
    InputCodes input_codes = InputCodes::kNone;
    float input_scale = 0.0F;  // of kE4M3Static

    bool quantised() const { return static_cast<bool>(scale); }
    int64_t n_groups() const { return (weight.dim(1) + group - 1) / group; }
  };
  std::vector<Part> parts;

  int64_t d_in() const { return parts.front().weight.dim(1); }
  int64_t d_out() const {
    int64_t n = 0;
    for (const Part& p : parts) n += p.weight.dim(0);
    return n;
  }
  bool quantised() const { return parts.front().quantised(); }
};

}  // namespace seer
