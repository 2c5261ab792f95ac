// The CPU's choice of tokens against its definition in float64.
#include <cmath>

#include "kernels/host_logits.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/token_losses_cases.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Both sides sum float64; only the order differs.
constexpr double kEdge = 1e-12;

TEST_CASE("sample at ties, edges and logits that are no numbers") {
  const auto cpu = make_cpu_backend(2);
  for (const SampleCase& c : exact_sample_cases()) {
    INFO(c.name);
    CHECK(reference::sample_mismatch(c, run_sample(*cpu, c), 0.0) == "");
  }
}

TEST_CASE("the loss of a row is log of the sum of exponentials less the target's logit") {
  const auto cpu = make_cpu_backend(2);
  for (const TokenLossesCase& c : token_losses_cases()) CHECK(token_losses_mismatch(*cpu, c) == "");
}

TEST_CASE("sample on random rows under every rule") {
  const auto cpu = make_cpu_backend(2);
  for (const SampleCase& c : random_sample_cases()) {
    INFO(c.name);
    CHECK(reference::sample_mismatch(c, run_sample(*cpu, c), kEdge) == "");
  }
}

TEST_CASE("a row's token depends neither on the rows next to it nor on the number of threads") {
  const auto one = make_cpu_backend(1), three = make_cpu_backend(3);
  for (const SampleCase& c : random_sample_cases()) {
    if (c.logits.dim(1) > 4096) continue;
    INFO(c.name);
    const std::vector<int32_t> together = run_sample(*three, c);
    for (size_t r = 0; r < c.rows.size(); ++r) {
      const auto row = static_cast<int64_t>(r);
      const SampleCase alone{
          c.name,
          HostTensor(DType::kF32, {1, c.logits.dim(1)}, {c.logits.at(row), c.logits.at(row + 1)}),
          {c.rows[r]}};
      CHECK(run_sample(*one, alone) == std::vector<int32_t>{together[r]});
    }
  }
}

// Returns a token of one row by choose_token(), as for rows that leave their device.
int32_t choose(std::vector<float> logits, const SampleRow& row) {
  std::vector<float> scratch(static_cast<size_t>(choose_token_scratch(static_cast<int64_t>(logits.size()))));
  return choose_token(logits, row, scratch.data());
}

TEST_CASE("a row on the host gives the token that the backend gives") {
  const auto cpu = make_cpu_backend(2);
  for (const SampleCase& c : random_sample_cases()) {
    if (c.logits.dim(1) > 4096) continue;
    INFO(c.name);
    const std::vector<int32_t> expected = run_sample(*cpu, c);
    for (size_t r = 0; r < c.rows.size(); ++r) {
      const auto row = static_cast<int64_t>(r);
      CHECK(choose({c.logits.at(row), c.logits.at(row + 1)}, c.rows[r].view()) == expected[r]);
    }
  }
}

TEST_CASE("log_sum_exp is exact to a float, for rows of any length and size of logits") {
  Random random(3);
  for (const size_t n : {1, 2, 15, 16, 17, 1023, 1024, 1025, 151936})
    for (const float scale : {0.0F, 1.0F, 30.0F, 1000.0F}) {
      std::vector<float> logits(n);
      for (float& x : logits) x = random.uniform(-scale, scale);
      double largest = -INFINITY, sum = 0.0;
      for (const float x : logits) largest = std::max(largest, static_cast<double>(x));
      for (const float x : logits) sum += std::exp(static_cast<double>(x) - largest);
      CHECK(log_sum_exp(logits) == Approx(largest + std::log(sum)).margin(1e-6).epsilon(1e-9));
    }
  const float inf = INFINITY;
  CHECK(log_sum_exp(std::vector<float>{-inf, 2.0F, -inf}) == 2.0);
  CHECK(log_sum_exp(std::vector<float>{-inf, -inf}) == -INFINITY);
  CHECK(log_sum_exp(std::vector<float>{1.0F, inf}) == INFINITY);
  CHECK(std::isnan(log_sum_exp(std::vector<float>{1.0F, NAN, inf})));
}

TEST_CASE("no rows give no ids") {
  const auto cpu = make_cpu_backend(1);
  CHECK(run_sample(*cpu, {"none", HostTensor::filled(DType::kF32, {0, 320}, 0.0F), {}}).empty());
}

// Pearson's test. With a fixed seed the sum is a fixed number, and 27.9 is exceeded once in 1000 seeds.
TEST_CASE("draws follow the softmax of the logits over the temperature, by chi-square") {
  constexpr int kDraws = 20000, kTokens = 10;
  const auto cpu = make_cpu_backend(2);
  Random random(11);
  std::vector<float> logits(kTokens);
  for (float& x : logits) x = random.uniform(-2.0F, 2.0F);
  SampleCase c;
  std::vector<float> values;
  for (int i = 0; i < kDraws; ++i) {
    values.insert(values.end(), logits.begin(), logits.end());
    c.rows.push_back({0.8, 0, 1.0, 0.0, static_cast<double>(random.next() >> 11) * 0x1p-53, {}});
  }
  c.logits = HostTensor(DType::kF32, {kDraws, kTokens}, std::move(values));
  std::vector<double> counts(kTokens), expected;
  for (const int32_t id : run_sample(*cpu, c)) counts.at(static_cast<size_t>(id)) += 1.0;
  double total = 0.0, chi_square = 0.0;
  for (const float logit : logits) {
    expected.push_back(std::exp(logit / 0.8));
    total += expected.back();
  }
  for (size_t i = 0; i < kTokens; ++i) {
    const double mean = expected[i] / total * kDraws;
    chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  CHECK(chi_square < 27.9);
  CHECK(chi_square > 0.5);  // numbers that fit too well are not random draws
}

}  // namespace
}  // namespace seer::testing
