// How much rows count in the loss of a window with look-ups.
#include "models/distill/row_weights.h"

#include <numeric>
#include <vector>

#include "tests/support/catch.h"

namespace seer {
namespace {

using Positions = std::vector<int64_t>;

// The tokens from 64 to 127 of a window, or every fourth of them.
constexpr ScoredRows kTokens{64, 1, 64, 16, false}, kFourthTokens{64, 4, 16, 16, false};
// The query blocks of 16 tokens from the fourth to the last of 32.
constexpr ScoredRows kBlocks{4, 1, 28, 1, true};

// Checks that the rows `answering` have the answers' share, and the others the rest.
void check_weights(const ScoredRows& rows, int64_t tokens_of_row, const Positions& answers,
                   const Positions& answering) {
  const std::vector<float> weights = row_weights(rows, tokens_of_row, answers);
  REQUIRE(static_cast<int64_t>(weights.size()) == rows.n);
  const auto n = static_cast<double>(rows.n), n_answering = static_cast<double>(answering.size());
  std::vector<double> expected(weights.size(), (1.0 - kAnswersShare) * n / (n - n_answering));
  for (const int64_t i : answering) expected[static_cast<size_t>(i)] = kAnswersShare * n / n_answering;
  for (size_t i = 0; i < weights.size(); ++i) {
    INFO("row " << i);
    CHECK(weights[i] == Approx(expected[i]));
  }
  CHECK(std::accumulate(weights.begin(), weights.end(), 0.0) == Approx(n));
}

TEST_CASE("rows of answers have an eighth of the loss together, whichever and however many they are") {
  CHECK(kAnswersShare == 0.125);
  check_weights(kTokens, 1, {64}, {0});
  check_weights(kTokens, 1, {127, 70, 71, 70}, {6, 7, 63});
  check_weights(kTokens, 1, {70, 71, 72, 73, 74, 75, 76}, {6, 7, 8, 9, 10, 11, 12});
}

TEST_CASE("answers before the rows that are learned, after them or between them have no weight") {
  check_weights(kTokens, 1, {5, 63, 70, 128, 4000}, {6});
  CHECK(row_weights(kTokens, 1, {}).empty());
  CHECK(row_weights(kTokens, 1, Positions{5, 63, 128}).empty());
  check_weights(kFourthTokens, 1, {70, 71, 72, 73, 74}, {2});
  CHECK(row_weights(kFourthTokens, 1, Positions{65, 66, 67, 127}).empty());
}

TEST_CASE("gates for prompts have the weights at the query blocks of the answers") {
  check_weights(kBlocks, 16, {64, 79, 80, 511}, {0, 1, 27});
  CHECK(row_weights(kBlocks, 16, Positions{0, 63, 512}).empty());
}

TEST_CASE("answers that have an eighth of the rows anyway get no weight, nor do those of all rows") {
  Positions answers(8);
  std::iota(answers.begin(), answers.end(), 64);
  CHECK(row_weights(kTokens, 1, answers).empty());
  CHECK(row_weights({64, 1, 1, 16, false}, 1, Positions{64}).empty());
}

}  // namespace
}  // namespace seer
