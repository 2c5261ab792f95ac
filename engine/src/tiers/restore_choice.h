// Decides whether a run of pages is brought back from a tier or computed again, by what both have taken so
// far.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seer {

// Where a page comes from. The order is that in which tiers are asked.
enum class TierKind { kHost, kDisk };
constexpr size_t kTierKinds = 2;

// Estimates the seconds that a token of a prompt takes, by a straight line over its position, because
// attention makes later tokens dearer. The line is fitted to the observed steps, of which older ones count
// less and less.
class PrefillRate {
 public:
  // Says how long a step took that computed tokens [begin, end) of a prompt and nothing else.
  void observe(int64_t begin, int64_t end, double seconds);
  // Returns how long tokens [begin, end) would take; 0 if nothing was observed yet.
  double seconds(int64_t begin, int64_t end) const;

 private:
  // Weighted sums over steps. A step's x is the position of its middle, and its y the seconds for each token.
  double n_ = 0.0, x_ = 0.0, y_ = 0.0, xx_ = 0.0, xy_ = 0.0;
};

// Bringing a page back costs the same wherever it is in the prompt. Computing it costs more the later it is.
// Only a prefix can be brought back. So either the whole run of pages pays, or nothing of it.
class RestoreChoice {
 public:
  void computed(int64_t begin, int64_t end, bool sparse, double seconds) {
    rates_[sparse ? 1 : 0].observe(begin, end, seconds);
  }
  void restored(TierKind tier, int64_t bytes, double seconds);
  // Returns how long the tokens would take to compute; 0 if unknown.
  double compute_seconds(int64_t begin, int64_t end, bool sparse) const {
    return rates_[sparse ? 1 : 0].seconds(begin, end);
  }
  double restore_seconds(TierKind tier, int64_t bytes) const;  // 0 if unknown
  // Pages come in n_stages, each of which brings some layers of all pages. The first n_done stages took
  // `copied` seconds. A step needs the layers in the same order, and takes `step` seconds if it need not wait
  // for them; 0 if unknown. Returns whether a step that begins now is expected to find every layer there when
  // it comes to it.
  static bool in_time(int64_t n_done, int64_t n_stages, double copied, double step);
  // Returns whether to bring back what would take `restore` seconds, and would take `compute` seconds to
  // compute. What is unknown counts as worth a try, because only a try makes it known. For the same reason
  // each 16th run for which it does not seem to pay is brought back.
  bool pays(double restore, double compute);

 private:
  PrefillRate rates_[2];  // of dense and of sparse prompts
  double seconds_per_byte_[kTierKinds] = {};
  int n_refused_ = 0;
};

}  // namespace seer
