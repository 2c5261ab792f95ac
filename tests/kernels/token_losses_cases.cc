#include "tests/kernels/token_losses_cases.h"

#include <cmath>
#include <limits>
#include <utility>

#include "tests/kernels/cases.h"

namespace seer::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

double loss_of(const std::vector<float>& row, int32_t target) {
  long double sum = 0.0L;
  for (const float x : row) sum += std::exp(static_cast<long double>(x) - static_cast<long double>(row[0]));
  return static_cast<double>(std::log(sum) + row[0] - row[static_cast<size_t>(target)]);
}

TokenLossesCase rows_of(std::string name, const std::vector<std::vector<float>>& rows,
                        std::vector<int32_t> targets) {
  TokenLossesCase c{std::move(name), static_cast<int64_t>(rows[0].size()), {}, std::move(targets), {}};
  for (size_t r = 0; r < rows.size(); ++r) {
    c.logits.insert(c.logits.end(), rows[r].begin(), rows[r].end());
    c.losses.push_back(loss_of(rows[r], c.targets[r]));
  }
  return c;
}

}  // namespace

std::vector<TokenLossesCase> token_losses_cases() {
  std::vector<TokenLossesCase> cases;
  cases.push_back(rows_of("one token", {{-3.0F}}, {0}));
  cases.push_back(rows_of("three tokens", {{1.0F, 2.0F, 3.0F}, {3.0F, 2.0F, 1.0F}}, {2, 2}));
  cases.push_back({"a row of one token that is certain", 3, {-1000.0F, 0.0F, 1000.0F}, {2}, {0.0}});
  cases.push_back({"a target that is impossible", 3, {1.0F, -kInf, 1.0F}, {1}, {kInf}});
  cases.push_back({"tokens that are banned", 4, {-kInf, 2.0F, 2.0F, -kInf}, {1}, {std::log(2.0)}});
  cases.push_back({"logits that are no numbers",
                   3,
                   {1.0F, kNan, 2.0F, kInf, 1.0F, 2.0F, -kInf, -kInf, -kInf, 1.0F, 1.0F, 1.0F},
                   {0, 1, 1, 2},
                   {kNan, kNan, kNan, std::log(3.0)}});
  Random random(17);
  for (const int64_t n_vocab : {31, 512, 513, 49152, 151936}) {
    std::vector<std::vector<float>> rows(3);
    std::vector<int32_t> targets;
    for (std::vector<float>& row : rows) {
      for (int64_t i = 0; i < n_vocab; ++i) row.push_back(random.uniform(-20.0F, 20.0F));
      targets.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(n_vocab))));
    }
    rows[1].back() = 45.0F;  // the largest logit comes last
    cases.push_back(rows_of(std::to_string(n_vocab) + " tokens", rows, targets));
  }
  return cases;
}

std::string token_losses_mismatch(Backend& backend, const TokenLossesCase& c) {
  Device device(&backend);
  std::vector<double> losses(c.targets.size(), -1.0);
  const auto n = static_cast<int64_t>(losses.size());
  backend.token_losses(losses, device.upload_f32(HostTensor(DType::kF32, {n, c.n_vocab}, c.logits)),
                       c.targets);
  for (size_t r = 0; r < losses.size(); ++r) {
    const double expected = c.losses[r], found = losses[r];
    const bool equal = std::isfinite(expected) ? std::abs(found - expected) <= 2e-6 * (1.0 + expected)
                       : std::isnan(expected)  ? std::isnan(found)
                                               : found == expected;
    if (!equal)
      return c.name + ", row " + std::to_string(r) + ": expected " + std::to_string(expected) + ", found " +
             std::to_string(found);
  }
  return "";
}

}  // namespace seer::testing
