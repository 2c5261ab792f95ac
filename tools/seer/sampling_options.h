// The sampling options. A value that is not given stays the model's own.
#pragma once

#include <optional>

#include "seer/sampling.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct SamplingOptions {
  std::optional<double> temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, repeat_last_n;
  std::optional<uint64_t> seed;

  void add_to(Args& args);
  // Returns `standard` with the given values. Throws Error{kUsage} for one that is out of range.
  SamplingParams apply(const SamplingParams& standard) const;
};

}  // namespace seer::cli
