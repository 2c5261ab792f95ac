#include "tests/kernels/reference.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/compare.h"
#include "tests/kernels/reference_sums.h"

namespace seer::testing::reference {

std::vector<double> embed(const EmbedCase& c) {
  std::vector<double> out;
  for (const int32_t id : c.ids) out.insert(out.end(), c.table.at(id), c.table.at(id + 1));
  return out;
}

std::vector<double> rms_norm(const RmsNormCase& c) {
  std::vector<double> out;
  const int64_t n = c.x.dim(1);
  for (int64_t r = 0; r < c.x.dim(0); ++r) {
    const float* x = c.x.at(r);
    double squares = 0.0;
    for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double root = std::sqrt(squares / static_cast<double>(n) + c.eps);
    for (int64_t i = 0; i < n; ++i) out.push_back(x[i] / root * c.weight.values[static_cast<size_t>(i)]);
  }
  return out;
}

std::vector<double> linear(const LinearCase& c) {
  std::vector<double> out;
  for (int64_t r = 0; r < c.x.dim(0); ++r) {
    for (const LinearCase::Part& part : c.parts)
      for (int64_t o = 0; o < part.weight.dim(0); ++o) {
        const double bias = part.bias.empty() ? 0.0 : part.bias.values[static_cast<size_t>(o)];
        double sum = dot(c.x.at(r), part.weight.at(o), c.x.dim(1), bias);
        if (c.accumulate) sum += c.before.values[out.size()];
        out.push_back(sum);
      }
  }
  return out;
}

std::vector<double> silu_mul(const SiluMulCase& c) {
  std::vector<double> out;
  const int64_t d_ff = c.gate_up.dim(1) / 2;
  for (int64_t r = 0; r < c.gate_up.dim(0); ++r)
    for (int64_t i = 0; i < d_ff; ++i) {
      const double gate = c.gate_up.at(r)[i], up = c.gate_up.at(r)[d_ff + i];
      out.push_back(gate / (1.0 + std::exp(-gate)) * up);
    }
  return out;
}

std::vector<double> gather_rows(const GatherRowsCase& c) {
  std::vector<double> out;
  for (const int64_t row : c.rows) out.insert(out.end(), c.x.at(row), c.x.at(row + 1));
  return out;
}

std::vector<double> rope_table(const RopeTableCase& c) {
  std::vector<double> cos, sin;
  for (int64_t r = 0; r < c.n_rows; ++r)
    for (const double f : c.inv_freq) {
      const double angle = static_cast<double>(c.start + r * c.stride) * f;
      cos.push_back(std::cos(angle) * c.scaling);
      sin.push_back(std::sin(angle) * c.scaling);
    }
  cos.insert(cos.end(), sin.begin(), sin.end());
  return cos;
}

std::vector<double> rotate(const std::vector<double>& x, const float* cos, const float* sin, int64_t half) {
  std::vector<double> out = x;
  for (int64_t i = 0; i < half; ++i) {
    const double a = x[static_cast<size_t>(i)], b = x[static_cast<size_t>(i + half)];
    out[static_cast<size_t>(i)] = a * cos[i] - b * sin[i];
    out[static_cast<size_t>(i + half)] = b * cos[i] + a * sin[i];
  }
  return out;
}

}  // namespace seer::testing::reference
