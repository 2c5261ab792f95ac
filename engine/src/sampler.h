// Says how the next token of one request is to be chosen; the backend chooses it (kernels/sample_row.h).
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "kernels/sample_row.h"
#include "seer/sampling.h"

namespace seer {

class Sampler {
 public:
  // `banned` ids are never chosen. Throws Error{kUsage} for parameters out of range.
  Sampler(const SamplingParams& params, std::vector<int32_t> banned);

  // `history` is the whole sequence so far, prompt included. The row is valid until the next call. One call a
  // token: it moves the random numbers on.
  SampleRow next(std::span<const int32_t> history);
  // Takes the token that the backend chose, and returns it. Throws Error{kRuntime} where there was none to
  // choose.
  int32_t accept(int32_t id);

 private:
  LogitChange& change_of(int32_t id);
  void collect_changes(std::span<const int32_t> history);

  SamplingParams params_;
  std::vector<int32_t> banned_;
  std::mt19937_64 random_;
  std::unordered_map<int32_t, int64_t> generated_;  // how often each id was chosen
  std::vector<LogitChange> changes_;                // of the current row
  std::unordered_map<int32_t, size_t> change_at_;   // where an id's change is
};

}  // namespace seer
