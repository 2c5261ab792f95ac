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

// Ids that are never chosen, and those that are not chosen until n_first tokens are.
struct BannedIds {
  std::vector<int32_t> always;
  std::vector<int32_t> at_first;
  int64_t n_first = 0;
};

class Sampler {
 public:
  // Throws Error{kUsage} for parameters out of range.
  Sampler(const SamplingParams& params, BannedIds banned);

  // `history` is the whole sequence so far, prompt included; it only grows from call to call. The row is
  // valid until the next call. One call a token: it moves the random numbers on. A call costs what is new in
  // the history, not its length.
  SampleRow next(std::span<const int32_t> history);
  // Takes the token that was chosen, and returns it. Throws Error{kRuntime} if there was none to choose.
  int32_t accept(int32_t id);

 private:
  // What is known of one id. Its change follows from this.
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
  size_t window_begin_ = 0, window_end_ = 0;  // of the history, where repeat_penalty looks
  // Both hold the ids that any rule has touched; an entry stays, so that a row need not be made anew for each
  // token of a long text.
  std::unordered_map<int32_t, Seen> seen_;
  std::vector<LogitChange> changes_;
};

}  // namespace seer
