#include "engine/src/page_cost.h"

namespace seer {
namespace {

// The share of blocks that a rule by threshold keeps depends on the text. Measured shares lie between 6% and
// 27% for the thresholds that are of use (tests/bench/README.md), and an eviction needs no better estimate.
constexpr double kThresholdShare = 0.2;

double attended_share(const SparseRule& rule) {
  if (rule.by_threshold()) return kThresholdShare;
  return rule.method == SparseRule::Method::kDense ? 1.0 : rule.value;
}

}  // namespace

double PageCost::of_page(const SparseRule& rule, int64_t block, int64_t page_tokens) const {
  if (keys_per_token == 0.0) return 1.0;
  return 1.0 + attended_share(rule) * static_cast<double>(block * page_tokens) / keys_per_token;
}

// Counts multiplications of one layer: those of the weights for a token, and those of scores and of sums of
// values for a token and a key.
PageCost page_cost(const ModelConfig& config) {
  const int64_t q = config.n_heads * config.d_head, kv = config.n_kv_heads * config.d_head;
  const int64_t weights = config.d_model * (2 * q + 2 * kv) + 3 * config.d_model * config.d_ff;
  return {static_cast<double>(weights) / static_cast<double>(2 * q)};
}

}  // namespace seer
