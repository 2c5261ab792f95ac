#include "tools/seer/tune/head_effects.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <numeric>

namespace seer::cli {
namespace {

// SplitMix64: the same numbers with every standard library.
uint64_t next(uint64_t* state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

HeadEffects::HeadEffects(int64_t n_layers, int64_t n_heads, uint64_t seed)
    // Column 0 of the matrix is the same in all runs, so no head has it.
    : n_runs_(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n_layers * n_heads + 1)))),
      state_(seed),
      columns_(static_cast<size_t>(n_layers * n_heads)),
      flipped_(columns_.size()) {}

void HeadEffects::begin_window() {
  // Which head has which column changes from window to window: an effect of two heads together falls on the
  // column of a third one, and so on another head in each window.
  std::vector<int64_t> columns(static_cast<size_t>(n_runs_ - 1));
  std::iota(columns.begin(), columns.end(), 1);
  for (size_t i = 0; i < columns_.size(); ++i) {
    std::swap(columns[i], columns[i + next(&state_) % (columns.size() - i)]);
    columns_[i] = columns[i];
    flipped_[i] = (next(&state_) & 1U) != 0;
  }
  windows_.emplace_back(columns_.size());
}

int HeadEffects::sign(int64_t run, size_t head) const {
  const bool odd = std::popcount(static_cast<uint64_t>(run & columns_[head])) % 2 != 0;
  return odd != flipped_[head] ? -1 : 1;
}

std::vector<float> HeadEffects::factors_of_run(int64_t run) const {
  std::vector<float> factors(columns_.size());
  for (size_t h = 0; h < factors.size(); ++h)
    factors[h] = static_cast<float>(sign(run, h) > 0 ? kStep : 1.0 / kStep);
  return factors;
}

void HeadEffects::add(int64_t run, double loss, double density) {
  const auto n = static_cast<double>(n_runs_);
  for (size_t h = 0; h < columns_.size(); ++h) {
    windows_.back()[h].loss += sign(run, h) * loss / n;
    windows_.back()[h].density += sign(run, h) * density / n;
  }
}

std::vector<HeadEffects::Effect> HeadEffects::means() const {
  const auto n = static_cast<double>(windows_.size());
  std::vector<Effect> means(columns_.size());
  for (const std::vector<Effect>& window : windows_)
    for (size_t h = 0; h < means.size(); ++h) {
      means[h].loss += window[h].loss / n;
      means[h].density += window[h].density / n;
    }
  return means;
}

double HeadEffects::variance(const std::vector<Effect>& means) const {
  double squares = 0.0;
  for (const std::vector<Effect>& window : windows_)
    for (size_t h = 0; h < means.size(); ++h)
      squares += (window[h].loss - means[h].loss) * (window[h].loss - means[h].loss);
  const auto n = static_cast<double>(windows_.size());
  return squares / static_cast<double>(means.size()) / (n - 1.0) / n;
}

std::vector<float> HeadEffects::factors() const {
  assert(windows_.size() > 1);
  const std::vector<Effect> means = this->means();
  const double variance = this->variance(means);
  double all_losses = 0.0, all_dropped = 0.0;
  for (const Effect& effect : means) {
    all_losses += effect.loss;
    all_dropped -= effect.density;
  }
  std::vector<float> factors(means.size(), 1.0F);
  if (!(all_losses > 0.0 && all_dropped > 0.0)) return factors;  // dropping blocks costs nothing
  // A head's cost is its loss divided by the share of blocks that it drops. `mean` is the cost of all heads
  // together. `spread` is the variance of costs between heads: what is left of the losses' squared distances
  // from those of the mean cost, after the part that chance explains is taken away.
  const double mean = all_losses / all_dropped;
  double squares = 0.0, dropped_squares = 0.0;
  for (const Effect& effect : means) {
    squares += (effect.loss + mean * effect.density) * (effect.loss + mean * effect.density);
    dropped_squares += effect.density * effect.density;
  }
  const double n = static_cast<double>(means.size());
  const double spread = std::max(squares - n * variance, 0.0) / dropped_squares;
  for (size_t h = 0; h < factors.size(); ++h) {
    // The less certain a head's cost is, the closer to the mean it is taken to be.
    const double dropped = std::max(-means[h].density, 1e-3 * all_dropped / n);
    const double error = variance / dropped / dropped, trust = spread > 0.0 ? spread / (spread + error) : 0.0;
    const double cost = std::max(mean + trust * (means[h].loss / dropped - mean), 0.1 * mean);
    // The cost of one more dropped block grows about as the square of the threshold.
    const double factor = std::clamp(std::sqrt(mean / cost), 1.0 / kMostFactor, kMostFactor);
    factors[h] = static_cast<float>(std::round(1000.0 * factor) / 1000.0);
  }
  return factors;
}

}  // namespace seer::cli
