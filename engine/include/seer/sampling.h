// How the next token is chosen from the logits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "seer/error.h"

namespace seer {

// Applied in this order: penalties and logit_bias, temperature, top_k, top_p, min_p. temperature 0 is greedy:
// the largest penalised logit, the lowest id among equals.
struct SEER_API SamplingParams {
  double temperature = 0.8;  // >= 0
  int64_t top_k = 0;         // keep the k most likely; 0 and -1 keep all
  double top_p = 1.0;  // nucleus: keep the smallest set of the likeliest tokens whose probability reaches
                       // top_p, at least one token; [0, 1]
  double min_p = 0.0;  // drop tokens below min_p times the most likely one's probability; [0, 1]
  double repeat_penalty = 1.0;  // > 0; divides positive and multiplies negative logits of seen tokens (CTRL)
  double presence_penalty = 0.0;   // subtracted once from the logit of every generated token (OpenAI's rule)
  double frequency_penalty = 0.0;  // subtracted once per earlier occurrence among the generated tokens
  int64_t repeat_last_n = -1;      // repeat_penalty looks at this many last tokens, prompt included; -1: all
  // Values added to the logits of these ids, which are in [0, n_vocab). A value is finite, or -infinity, and
  // then the id is never chosen.
  std::map<int32_t, double> logit_bias;
  std::optional<uint64_t> seed;  // equal seeds give equal text; absent: a fresh random seed

  // Throws Error{kUsage} that names the first field out of range.
  void validate() const;
};

}  // namespace seer
