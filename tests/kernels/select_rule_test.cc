// The blocks that a rule keeps of a row, by formulas of the test's own.
#include <cmath>

#include "kernels/block_mask.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using Method = SelectRule::Method;

SelectRule rule_of(Method method, double value, int64_t n_prompt_blocks, bool last_block_dense = false) {
  return {method, value, last_block_dense, n_prompt_blocks};
}

// Returns the density of the causal triangle of n rows.
double density(const SelectRule& rule) {
  const int64_t n = rule.n_prompt_blocks;
  double kept = 0.0;
  for (int64_t row = 0; row < n; ++row)
    kept += static_cast<double>(std::min(row + 1, rule.kept_count().of_row(row + 1)));
  return kept / (static_cast<double>(n) * static_cast<double>(n + 1) / 2.0);
}

TEST_CASE("a ratio of rows keeps its share of a row's causal blocks, whatever the prompt's length") {
  for (const double ratio : {1e-9, 0.05, 0.1, 0.29, 0.5, 0.999, 1.0})
    for (int64_t n = 1; n <= 300; ++n) {
      INFO("ratio " << ratio << ", row of " << n);
      int64_t expected = 1;  // the largest k that is at most the share
      while (static_cast<double>(expected + 1) <= ratio * static_cast<double>(n)) ++expected;
      for (const int64_t n_prompt : {n, n + 1, 10 * n})
        CHECK(rule_of(Method::kNzRatioRow, ratio, n_prompt).kept_count().of_row(n) == expected);
    }
}

TEST_CASE("a ratio of the prompt keeps the same number in every row, which grows with the prompt") {
  const auto k = [](double ratio, int64_t n_prompt, int64_t n) {
    return rule_of(Method::kNzRatio, ratio, n_prompt).kept_count().of_row(n);
  };
  // 1 - sqrt(1 - 0.36) = 0.2.
  for (const int64_t n : {1, 7, 100}) {
    CHECK(k(0.36, 101, n) == 20);
    CHECK(k(0.36, 1001, n) == 200);
    CHECK(k(1e-9, 1000, n) == 1);
    CHECK(k(1.0, 1000, n) == 1000);
  }
}

TEST_CASE("equal ratios of the prompt and of rows keep equally many blocks of a long prompt") {
  for (const double ratio : {0.05, 0.1, 0.2, 0.5, 0.9}) {
    INFO("ratio " << ratio);
    const double of_prompt = density(rule_of(Method::kNzRatio, ratio, 4096));
    const double of_row = density(rule_of(Method::kNzRatioRow, ratio, 4096));
    CHECK(of_prompt == Approx(ratio).margin(1e-3));
    CHECK(of_row == Approx(ratio).margin(1e-3));
  }
  CHECK(density(rule_of(Method::kNzRatioRow, 1.0, 100)) == 1.0);
  CHECK(density(rule_of(Method::kNzRatio, 1.0, 100)) == 1.0);
}

TEST_CASE("the last two rows of a prompt are dense if the rule says so") {
  const SelectRule dense = rule_of(Method::kThreshold, 0.1, 10, true),
                   sparse = rule_of(Method::kThreshold, 0.1, 10, false);
  CHECK_FALSE(dense.row_is_dense(7));
  CHECK(dense.row_is_dense(8));
  CHECK(dense.row_is_dense(9));
  CHECK(dense.n_sparse_rows() == 8);
  CHECK_FALSE(sparse.row_is_dense(9));
  CHECK(sparse.n_sparse_rows() == 10);
  for (const int64_t n : {1, 2}) {
    const SelectRule all = rule_of(Method::kThreshold, 0.1, n, true);
    CHECK(all.row_is_dense(0));
    CHECK(all.n_sparse_rows() == 0);
  }
  CHECK(rule_of(Method::kNzRatioRow, 0.1, 3, true).n_sparse_rows() == 1);
}

TEST_CASE("only a ratio of the prompt depends on the prompt's length") {
  CHECK(rule_of(Method::kNzRatio, 0.1, 10).depends_on_length());
  CHECK_FALSE(rule_of(Method::kNzRatioRow, 0.1, 10).depends_on_length());
  CHECK_FALSE(rule_of(Method::kThreshold, 0.1, 10).depends_on_length());
}

}  // namespace
}  // namespace seer
