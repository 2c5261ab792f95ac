#include "tools/seer/serve/timings.h"

#include <cmath>

namespace seer::serve {
namespace {

// Rounds to three digits after the point, so that JSON has no more of them.
double rounded(double value) { return std::round(1e3 * value) / 1e3; }

double ms(int64_t ns) { return rounded(1e-6 * static_cast<double>(ns)); }

}  // namespace

OrderedJson timings_json(const TimedRequest& request, const RequestStats& stats, const ChoiceTimes& times) {
  if (!request.wanted) return nullptr;
  OrderedJson first, rate;
  if (times.first_token != Clock::time_point())
    first = rounded(std::chrono::duration<double, std::milli>(times.first_token - request.start).count());
  // The first token belongs to the prefill, so a rate needs a second one.
  if (stats.n_generated > 1 && stats.decode_ns > 0)
    rate = rounded(1e9 * static_cast<double>(stats.n_generated - 1) / static_cast<double>(stats.decode_ns));
  return {{"sparse", request.sparse},
          {"density", std::round(1e6 * stats.density) / 1e6},
          {"computed_tokens", stats.n_prompt},
          {"cached_tokens", stats.n_cached},
          {"first_token_ms", std::move(first)},
          {"prefill_ms", ms(stats.prefill_ns)},
          {"decode_ms", ms(stats.decode_ns)},
          {"tokens_per_second", std::move(rate)},
          {"sparse_decode", request.sparse_decode},
          {"decode_density", std::round(1e6 * stats.decode_density) / 1e6},
          {"host_tokens", stats.n_from_host},
          {"disk_tokens", stats.n_from_disk},
          {"restore_ms", ms(stats.restore_ns)}};
}

}  // namespace seer::serve
