#include "engine/src/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace seer {
namespace {

// A smaller top_p than this keeps only the likeliest token. Of at most 2^24 tokens, the likeliest has a
// larger probability.
constexpr double kLeastTopP = 1e-9;

// Returns a number in [0, 1). std::uniform_real_distribution is not used, since it may differ between
// libraries and equal seeds should give equal text.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

Sampler::Sampler(const SamplingParams& params, BannedIds banned)
    : params_(params), banned_at_first_(std::move(banned.at_first)), n_first_(banned.n_first) {
  params.validate();
  random_.seed(params.seed ? *params.seed
                           : (uint64_t{std::random_device{}()} << 32) | std::random_device{}());
  for (const auto& [id, bias] : params.logit_bias) seen(id).bias = bias;
  for (const int32_t id : banned.always) seen(id).banned = true;
  if (n_first_ == 0) banned_at_first_.clear();
  for (const int32_t id : banned_at_first_) seen(id).banned_at_first = true;
  for (const auto& [id, s] : seen_) update(s);
}

SampleRow Sampler::next(std::span<const int32_t> history) {
  look_at(history);
  if (n_chosen_ >= n_first_ && !banned_at_first_.empty()) {
    for (const int32_t id : banned_at_first_) {
      Seen& s = seen(id);
      s.banned_at_first = false;
      update(s);
    }
    banned_at_first_.clear();
  }
  SampleRow row;
  row.temperature = params_.temperature;
  row.top_k = std::max<int64_t>(params_.top_k, 0);
  row.top_p = std::max(params_.top_p, kLeastTopP);
  row.min_p = std::min(params_.min_p, std::nextafter(1.0, 0.0));
  if (params_.temperature != 0.0) row.uniform = uniform(random_);
  row.changes = changes_;
  return row;
}

int32_t Sampler::accept(int32_t id) {
  if (id < 0)
    throw Error(ErrorKind::kRuntime,
                "no token can be chosen: the logits are not finite. Either logit_bias, on_logits or banned "
                "ids forbid "
                "all tokens, or the model's weights are damaged.");
  ++n_chosen_;
  if (params_.presence_penalty != 0.0 || params_.frequency_penalty != 0.0) {
    Seen& s = seen(id);
    ++s.n_generated;
    update(s);
  }
  return id;
}

Sampler::Seen& Sampler::seen(int32_t id) {
  const auto [found, first] = seen_.try_emplace(id);
  if (first) {
    found->second.change = changes_.size();
    changes_.push_back({.id = id});
  }
  return found->second;
}

void Sampler::update(const Seen& s) {
  LogitChange& change = changes_[s.change];
  change.divide = s.n_in_window > 0 ? static_cast<float>(params_.repeat_penalty) : 1.0F;
  double subtract = 0.0;
  if (s.n_generated > 0)
    subtract = params_.presence_penalty + params_.frequency_penalty * static_cast<double>(s.n_generated);
  const bool forbidden = s.bias == -HUGE_VAL;
  change.banned = s.banned || s.banned_at_first || forbidden;
  change.subtract = static_cast<float>(forbidden ? subtract : subtract - s.bias);
}

void Sampler::look_at(std::span<const int32_t> history) {
  if (params_.repeat_penalty == 1.0) return;
  const size_t end = history.size();
  const size_t begin =
      params_.repeat_last_n < 0 ? 0 : end - std::min(end, static_cast<size_t>(params_.repeat_last_n));
  // If the two windows do not meet, the tokens between them are in neither.
  for (size_t i = std::max(window_end_, begin); i < end; ++i)
    if (Seen& s = seen(history[i]); s.n_in_window++ == 0) update(s);
  for (size_t i = window_begin_; i < std::min(begin, window_end_); ++i)
    if (Seen& s = seen(history[i]); --s.n_in_window == 0) update(s);
  window_begin_ = begin;
  window_end_ = end;
}

}  // namespace seer
