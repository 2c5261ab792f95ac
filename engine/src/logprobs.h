// Log-probabilities of tokens, from one row of the model's logits.
#pragma once

#include <cstdint>
#include <span>

#include "seer/request.h"

namespace seer {

// Log-probabilities of a row's likeliest tokens. For any other token, the caller passes its logit.
class RowLogprobs {
 public:
  // Throws Error{kRuntime} if the row has no distribution, because a logit is NaN or infinite or none is
  // finite. n_top is in [0, n_vocab].
  RowLogprobs(std::span<const float> logits, int64_t n_top);
  // `logit` must be the row's logit of token `id`.
  PositionLogprobs of(int32_t id, float logit) const { return {{id, logprob(logit)}, top_}; }

 private:
  float logprob(float logit) const { return static_cast<float>(static_cast<double>(logit) - log_sum_); }

  double log_sum_;
  std::vector<TokenLogprob> top_;
};

}  // namespace seer
