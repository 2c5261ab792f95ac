// Chooses the next token of one request from its logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "seer/sampling.h"

namespace seer {

class Sampler {
 public:
  // `banned` ids are never chosen. Throws Error{kUsage} for parameters out of range.
  Sampler(const SamplingParams& params, std::vector<int32_t> banned);

  // `history` is the whole sequence so far, prompt included. May change `logits` [n_vocab]. Throws
  // Error{kRuntime} where no logit is finite.
  int32_t sample(std::span<float> logits, std::span<const int32_t> history);

 private:
  struct Candidate {
    int32_t id;
    float logit;
    double p;
  };
  void penalise(std::span<float> logits, std::span<const int32_t> history) const;
  int32_t draw(std::span<const float> logits);

  SamplingParams params_;
  std::vector<int32_t> banned_;
  std::mt19937_64 random_;
  std::unordered_map<int32_t, int64_t> generated_;  // how often each id was chosen
  std::vector<Candidate> candidates_;               // kept between calls for its memory
};

}  // namespace seer
