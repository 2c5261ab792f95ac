#include "engine/src/logprobs.h"

#include <algorithm>
#include <cmath>

#include "kernels/host_logits.h"
#include "seer/error.h"

namespace seer {
namespace {

struct Ranked {
  float logit;
  int32_t id;
};

bool likelier(const Ranked& a, const Ranked& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Returns the n likeliest tokens so far as a heap with the least likely one on top, since few tokens of a row
// ever enter it.
std::vector<Ranked> likeliest(std::span<const float> logits, size_t n) {
  std::vector<Ranked> kept;
  if (n == 0) return kept;
  kept.reserve(n);
  for (size_t i = 0; i < logits.size(); ++i) {
    const Ranked own = {logits[i], static_cast<int32_t>(i)};
    if (kept.size() == n) {
      if (!(own.logit > kept.front().logit)) continue;  // between equals, the earlier id is kept
      std::pop_heap(kept.begin(), kept.end(), likelier);
      kept.back() = own;
    } else {
      kept.push_back(own);
    }
    std::push_heap(kept.begin(), kept.end(), likelier);
  }
  std::sort_heap(kept.begin(), kept.end(), likelier);
  return kept;
}

}  // namespace

RowLogprobs::RowLogprobs(std::span<const float> logits, int64_t n_top) : log_sum_(log_sum_exp(logits)) {
  if (!std::isfinite(log_sum_))
    throw Error(ErrorKind::kRuntime,
                "there are no log-probabilities: the model's logits are not finite. The weights may be "
                "damaged.");
  const std::vector<Ranked> ranked = likeliest(logits, static_cast<size_t>(n_top));
  top_.reserve(ranked.size());
  for (const Ranked& r : ranked) top_.push_back({r.id, logprob(r.logit)});
}

}  // namespace seer
