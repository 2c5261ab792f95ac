#include "engine/src/tiers/restore_choice.h"

#include <algorithm>

namespace seer {
namespace {

constexpr double kKept = 0.95;  // of the weight of earlier observations when one is added
constexpr int kRefusalsBeforeTry = 15;

}  // namespace

void PrefillRate::observe(int64_t begin, int64_t end, double seconds) {
  if (end <= begin || seconds <= 0.0) return;
  const auto weight = static_cast<double>(end - begin);
  const double x = 0.5 * static_cast<double>(begin + end), y = seconds / weight;
  for (double* sum : {&n_, &x_, &y_, &xx_, &xy_}) *sum *= kKept;
  n_ += weight;
  x_ += weight * x;
  y_ += weight * y;
  xx_ += weight * x * x;
  xy_ += weight * x * y;
}

double PrefillRate::seconds(int64_t begin, int64_t end) const {
  if (n_ == 0.0 || end <= begin) return 0.0;
  const double mean_x = x_ / n_, mean_y = y_ / n_, variance = xx_ / n_ - mean_x * mean_x;
  // A line through observations that all lie at one position would have any slope. No token takes less time
  // because it comes later, and none takes less than nothing.
  double slope = 0.0;
  if (variance > 1e-6 * mean_x * mean_x)
    slope = std::clamp((xy_ / n_ - mean_x * mean_y) / variance, 0.0, mean_y / mean_x);
  const double middle = 0.5 * static_cast<double>(begin + end);
  return static_cast<double>(end - begin) * (mean_y + slope * (middle - mean_x));
}

void RestoreChoice::restored(TierKind tier, int64_t bytes, double seconds) {
  if (bytes <= 0 || seconds <= 0.0) return;
  double& mean = seconds_per_byte_[static_cast<int>(tier)];
  const double now = seconds / static_cast<double>(bytes);
  mean = mean == 0.0 ? now : 0.7 * mean + 0.3 * now;
}

double RestoreChoice::restore_seconds(TierKind tier, int64_t bytes) const {
  return seconds_per_byte_[static_cast<int>(tier)] * static_cast<double>(bytes);
}

bool RestoreChoice::in_time(int64_t n_done, int64_t n_stages, double copied, double step) {
  if (n_done == 0 || n_done == n_stages) return n_done > 0;
  const auto done = static_cast<double>(n_done), all = static_cast<double>(n_stages);
  const double copy = copied / done, compute = step / all;  // of a stage
  // Of the stages that are missing, the i-th comes after i * copy seconds. The step needs it when it has
  // computed the done + i - 1 stages before it. Both times grow with i along straight lines. So if the first
  // and the last of these stages come in time, those between them do too.
  return copy <= done * compute && (all - done) * copy <= (all - 1.0) * compute;
}

bool RestoreChoice::pays(double restore, double compute) {
  if (restore == 0.0 || compute == 0.0 || restore < compute) return true;
  if (++n_refused_ <= kRefusalsBeforeTry) return false;
  n_refused_ = 0;
  return true;
}

}  // namespace seer
