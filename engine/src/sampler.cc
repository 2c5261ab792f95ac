#include "engine/src/sampler.h"

#include <algorithm>
#include <utility>

namespace seer {
namespace {

// In [0, 1). std::uniform_real_distribution may differ between libraries; equal seeds should give equal text.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

Sampler::Sampler(const SamplingParams& params, std::vector<int32_t> banned)
    : params_(params), banned_(std::move(banned)) {
  params.validate();
  random_.seed(params.seed ? *params.seed
                           : (uint64_t{std::random_device{}()} << 32) | std::random_device{}());
}

SampleRow Sampler::next(std::span<const int32_t> history) {
  collect_changes(history);
  SampleRow row;
  row.temperature = params_.temperature;
  row.top_k = params_.top_k;
  row.top_p = params_.top_p;
  row.min_p = params_.min_p;
  if (params_.temperature != 0.0) row.uniform = uniform(random_);
  row.changes = changes_;
  return row;
}

int32_t Sampler::accept(int32_t id) {
  if (id < 0)
    throw Error(ErrorKind::kRuntime,
                "no token can be chosen: the model's logits are not finite. The weights may be damaged.");
  ++generated_[id];
  return id;
}

LogitChange& Sampler::change_of(int32_t id) {
  const auto [found, first] = change_at_.try_emplace(id, changes_.size());
  if (first) changes_.push_back({.id = id});
  return changes_[found->second];
}

void Sampler::collect_changes(std::span<const int32_t> history) {
  changes_.clear();
  change_at_.clear();
  if (params_.repeat_penalty != 1.0) {
    const size_t n = params_.repeat_last_n < 0
                         ? history.size()
                         : std::min(history.size(), static_cast<size_t>(params_.repeat_last_n));
    for (const int32_t id : history.last(n))
      change_of(id).divide = static_cast<float>(params_.repeat_penalty);
  }
  if (params_.presence_penalty != 0.0 || params_.frequency_penalty != 0.0)
    for (const auto& [id, count] : generated_)
      change_of(id).subtract = static_cast<float>(params_.presence_penalty +
                                                  params_.frequency_penalty * static_cast<double>(count));
  for (const int32_t id : banned_) change_of(id).banned = true;
}

}  // namespace seer
