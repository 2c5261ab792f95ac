#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace seer {
namespace {

constexpr double kPi = 3.14159265358979323846;

std::vector<double> plain_frequencies(double theta, int64_t d_head) {
  std::vector<double> inv_freq(static_cast<size_t>(d_head / 2));
  for (size_t i = 0; i < inv_freq.size(); ++i)
    inv_freq[i] = 1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(d_head));
  return inv_freq;
}

// "NTK by parts" (Peng et al., 2023, arXiv:2309.00071, section 3): high frequencies stay, low ones are
// interpolated.
RopeFrequencies yarn(const RopeConfig& rope, int64_t d_head) {
  RopeFrequencies f{plain_frequencies(rope.theta, d_head), 1.0};
  const auto dim = static_cast<double>(d_head), original = static_cast<double>(rope.original_max_positions);
  // The dimension that turns `rotations` times over the original context.
  const auto dimension = [&](double rotations) {
    return dim * std::log(original / (rotations * 2.0 * kPi)) / (2.0 * std::log(rope.theta));
  };
  double low = dimension(rope.beta_fast), high = dimension(rope.beta_slow);
  if (rope.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.inv_freq.size(); ++i) {
    const double interpolated = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f.inv_freq[i] = f.inv_freq[i] / rope.factor * interpolated + f.inv_freq[i] * (1.0 - interpolated);
  }
  const auto mscale = [&](double m) {
    return rope.factor <= 1.0 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1.0;
  };
  if (rope.attention_factor) {
    f.attention_scaling = *rope.attention_factor;
  } else if (rope.mscale && rope.mscale_all_dim && *rope.mscale != 0.0 && *rope.mscale_all_dim != 0.0) {
    f.attention_scaling = mscale(*rope.mscale) / mscale(*rope.mscale_all_dim);
  } else {
    f.attention_scaling = mscale(1.0);
  }
  return f;
}

// Meta's Llama 3.1 rule: wavelengths beyond the original context are divided, those well within it stay.
RopeFrequencies llama3(const RopeConfig& rope, int64_t d_head) {
  RopeFrequencies f{plain_frequencies(rope.theta, d_head), 1.0};
  const auto original = static_cast<double>(rope.original_max_positions);
  const double low_wavelength = original / rope.low_freq_factor,
               high_wavelength = original / rope.high_freq_factor;
  for (double& inv_freq : f.inv_freq) {
    const double wavelength = 2.0 * kPi / inv_freq;
    if (wavelength > low_wavelength) {
      inv_freq /= rope.factor;
    } else if (wavelength >= high_wavelength) {
      const double smooth =
          (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      inv_freq = (1.0 - smooth) * inv_freq / rope.factor + smooth * inv_freq;
    }
  }
  return f;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& rope, int64_t d_head, int64_t seq_len) {
  switch (rope.type) {
    case RopeConfig::Type::kDefault:
      break;
    case RopeConfig::Type::kLinear: {
      RopeFrequencies f{plain_frequencies(rope.theta, d_head), 1.0};
      for (double& inv_freq : f.inv_freq) inv_freq /= rope.factor;
      return f;
    }
    case RopeConfig::Type::kDynamic: {
      const auto dim = static_cast<double>(d_head),
                 original = static_cast<double>(rope.original_max_positions);
      const double length = std::max(static_cast<double>(seq_len), original);
      const double growth = rope.factor * length / original - (rope.factor - 1.0);
      return {plain_frequencies(rope.theta * std::pow(growth, dim / (dim - 2.0)), d_head), 1.0};
    }
    case RopeConfig::Type::kYarn:
      return yarn(rope, d_head);
    case RopeConfig::Type::kLlama3:
      return llama3(rope, d_head);
  }
  return {plain_frequencies(rope.theta, d_head), 1.0};
}

std::string rope_description(const RopeConfig& rope) {
  static constexpr const char* kNames[] = {"default", "linear", "dynamic", "yarn", "llama3"};
  const char* name = kNames[static_cast<int>(rope.type)];
  if (rope.type == RopeConfig::Type::kDefault) return name;
  char text[96];
  std::snprintf(text, sizeof text, "%s, factor %g", name, rope.factor);
  return text;
}

}  // namespace seer
