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

// Ids that are never chosen, and ids that are not among the first n_first tokens.
struct BannedIds {
  std::vector<int32_t> always;
  std::vector<int32_t> at_first;
  int64_t n_first = 0;
};

class Sampler {
 public:
  // Throws Error{kUsage} for parameters out of range.
  Sampler(const SamplingParams& params, BannedIds banned);

  // `history` is the whole sequence so far, prompt included; from call to call it may only grow. Call it once
  // for each token, because it draws a random number. The row is valid until the next call. The cost depends
  // on what is new in the history, not on its length.
  SampleRow next(std::span<const int32_t> history);
  // Takes the token that was chosen, and returns it. Throws Error{kRuntime} if there was none to choose.
  int32_t accept(int32_t id);

 private:
  // The state of one id, from which the change of its logit follows.
  struct Seen {
    int64_t n_in_window = 0;  // how often it is among the tokens that repeat_penalty looks at
    int64_t n_generated = 0;  // how often it was chosen
    double bias = 0.0;
    bool banned = false, banned_at_first = false;
    size_t change = 0;  // its index in changes_
  };
  Seen& seen(int32_t id);
  void update(const Seen& s);
  void look_at(std::span<const int32_t> history);

  SamplingParams params_;
  std::vector<int32_t> banned_at_first_;
  int64_t n_first_;
  std::mt19937_64 random_;
  int64_t n_chosen_ = 0;
  size_t window_begin_ = 0, window_end_ = 0;  // the part of the history that repeat_penalty looks at
  // Both hold the ids that any rule has changed so far. Entries are never removed, so that the row need not
  // be made anew for each token of a long text.
  std::unordered_map<int32_t, Seen> seen_;
  std::vector<LogitChange> changes_;
};

}  // namespace seer
