#include "seer/sampling.h"

#include <cmath>
#include <limits>
#include <string>

namespace seer {
namespace {

void check(bool ok, const char* name, double value, const char* expected) {
  if (ok) return;
  std::string text = std::to_string(value);
  throw Error(ErrorKind::kUsage,
              std::string("sampling: expected ") + name + " " + expected + ", found " + text);
}

}  // namespace

void SamplingParams::validate() const {
  check(std::isfinite(temperature) && temperature >= 0.0, "temperature", temperature, ">= 0");
  check(top_k >= -1, "top_k", static_cast<double>(top_k), ">= -1 (0 and -1 keep all)");
  check(top_p >= 0.0 && top_p <= 1.0, "top_p", top_p, "in [0, 1]");
  check(min_p >= 0.0 && min_p <= 1.0, "min_p", min_p, "in [0, 1]");
  check(std::isfinite(repeat_penalty) && repeat_penalty > 0.0, "repeat_penalty", repeat_penalty, "> 0");
  check(std::isfinite(presence_penalty), "presence_penalty", presence_penalty, "finite");
  check(std::isfinite(frequency_penalty), "frequency_penalty", frequency_penalty, "finite");
  check(repeat_last_n >= -1, "repeat_last_n", static_cast<double>(repeat_last_n), ">= -1 (-1 looks at all)");
  for (const auto& [id, bias] : logit_bias)
    check(std::abs(bias) <= std::numeric_limits<float>::max() || bias == -HUGE_VAL,
          ("logit_bias of " + std::to_string(id)).c_str(), bias, "a finite float32, or -infinity");
}

}  // namespace seer
