#include "engine/src/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <unordered_set>

namespace seer {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// The first of the largest; NaN is never the largest.
int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  float best_logit = kNever;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best_logit) best = i, best_logit = logits[i];
  return static_cast<int32_t>(best);
}

// In [0, 1). std::uniform_real_distribution may differ between libraries; equal seeds should give equal text.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

Sampler::Sampler(const SamplingParams& params, std::vector<int32_t> banned)
    : params_(params), banned_(std::move(banned)) {
  params.validate();
  random_.seed(params.seed ? *params.seed
                           : (uint64_t{std::random_device{}()} << 32) | std::random_device{}());
}

int32_t Sampler::sample(std::span<float> logits, std::span<const int32_t> history) {
  penalise(logits, history);
  for (const int32_t id : banned_)
    if (static_cast<size_t>(id) < logits.size()) logits[static_cast<size_t>(id)] = kNever;
  const int32_t best = argmax(logits);
  if (!std::isfinite(logits[static_cast<size_t>(best)]))
    throw Error(ErrorKind::kRuntime,
                "no token can be chosen: the model's logits are not finite. The weights may be damaged.");
  const int32_t id = params_.temperature == 0.0 ? best : draw(logits);
  ++generated_[id];
  return id;
}

void Sampler::penalise(std::span<float> logits, std::span<const int32_t> history) const {
  if (params_.repeat_penalty != 1.0) {
    const size_t n = params_.repeat_last_n < 0
                         ? history.size()
                         : std::min(history.size(), static_cast<size_t>(params_.repeat_last_n));
    const auto penalty = static_cast<float>(params_.repeat_penalty);
    std::unordered_set<int32_t> seen;
    for (const int32_t id : history.last(n)) {
      if (!seen.insert(id).second) continue;
      float& logit = logits[static_cast<size_t>(id)];
      logit = logit > 0.0F ? logit / penalty : logit * penalty;
    }
  }
  if (params_.presence_penalty != 0.0 || params_.frequency_penalty != 0.0)
    for (const auto& [id, count] : generated_)
      logits[static_cast<size_t>(id)] -= static_cast<float>(
          params_.presence_penalty + params_.frequency_penalty * static_cast<double>(count));
}

int32_t Sampler::draw(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::isfinite(logits[i])) candidates_.push_back({static_cast<int32_t>(i), logits[i], 0.0});
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (params_.top_k > 0 && static_cast<size_t>(params_.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + params_.top_k, candidates_.end(), likelier);
    candidates_.resize(static_cast<size_t>(params_.top_k));
  }
  const float top = std::min_element(candidates_.begin(), candidates_.end(), likelier)->logit;
  double total = 0.0;
  for (Candidate& c : candidates_)
    total += c.p = std::exp(static_cast<double>(c.logit - top) / params_.temperature);

  // Probabilities are relative to the likeliest token's, which has p = 1.
  if (params_.top_p < 1.0) {
    std::sort(candidates_.begin(), candidates_.end(), likelier);
    double mass = 0.0;
    size_t n = 0;
    while (n < candidates_.size() && mass < params_.top_p * total) mass += candidates_[n++].p;
    candidates_.resize(std::max<size_t>(n, 1));
    total = mass;
  }
  if (params_.min_p > 0.0) {
    std::erase_if(candidates_, [&](const Candidate& c) { return c.p < params_.min_p; });
    total = 0.0;
    for (const Candidate& c : candidates_) total += c.p;
  }
  double left = uniform(random_) * total;
  for (const Candidate& c : candidates_) {
    left -= c.p;
    if (left < 0.0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace seer
