// Rows of logits, targets, and the targets' losses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/kernels/device.h"

namespace seer::testing {

struct TokenLossesCase {
  std::string name;
  int64_t n_vocab;
  std::vector<float> logits;  // [n, n_vocab]
  std::vector<int32_t> targets;
  std::vector<double> losses;
};

std::vector<TokenLossesCase> token_losses_cases();
// Returns "" if the backend's losses are right within 2e-6 of themselves or of 1, whichever is larger: a GPU
// computes exponentials in float32.
std::string token_losses_mismatch(Backend& backend, const TokenLossesCase& c);

}  // namespace seer::testing
