// What a rule keeps and covers on texts held out.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "models/distill/held_out.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

// Returns the points of rows of four blocks. `scores` are shares, as after the softmax.
std::map<std::string, RulePoint> points_of(std::vector<float> scores, std::vector<float> truth,
                                           const ScoredRows& rows) {
  const auto cpu = make_cpu_backend(1);
  for (float& x : scores) x = std::log(x) + 3.0F;  // a constant is of no consequence
  const int64_t n_heads = static_cast<int64_t>(scores.size()) / 4 / rows.n;
  const auto tensor = [&](std::vector<float>& values) {
    return Tensor(values.data(), DType::kF32, {n_heads, rows.n, 4});
  };
  HeldOutPoints points;
  points.add(cpu.get(), tensor(scores), tensor(truth), rows);
  std::map<std::string, RulePoint> by_name;
  for (const RulePoint& point : points.points()) by_name[point.rule] = point;
  return by_name;
}

TEST_CASE("held-out points say what a rule keeps, what that covers, and what as many blocks could cover") {
  auto points = points_of({0.7F, 0.29F, 0.0085F, 0.0015F}, {0.5F, 0.1F, 0.3F, 0.1F}, {3, 1, 1});
  const auto check = [&](const std::string& rule, double density, double recall, double possible) {
    INFO(rule);
    CHECK(points[rule].density() == Approx(density));
    CHECK(points[rule].recall() == Approx(recall));
    CHECK(points[rule].possible_recall() == Approx(possible));
  };
  check("threshold=0.001", 1.0, 1.0, 1.0);
  check("threshold=0.002", 0.75, 0.9, 0.9);
  check("threshold=0.005", 0.75, 0.9, 0.9);
  check("threshold=0.01", 0.5, 0.6, 0.8);
  check("threshold=0.02", 0.5, 0.6, 0.8);
  check("best 0.5", 0.5, 0.6, 0.8);
  check("best 0.2", 0.25, 0.5, 0.5);
  check("best 0.1", 0.25, 0.5, 0.5);
}

TEST_CASE("held-out points are means over rows and heads, each with the blocks that it sees") {
  // Two heads with the rows of two and of three visible blocks; the rest of a row is never read.
  const float no = std::nanf("");
  auto points = points_of(
      {0.9F, 0.1F, no, no, 0.2F, 0.2F, 0.6F, no, 0.1F, 0.9F, no, no, 0.6F, 0.2F, 0.2F, no},
      {0.8F, 0.2F, no, no, 0.1F, 0.2F, 0.7F, no, 0.8F, 0.2F, no, no, 0.1F, 0.2F, 0.7F, no}, {1, 1, 2});
  const RulePoint& best = points["best 0.5"];  // one block of each row
  CHECK(best.density() == Approx(4.0 / 10.0));
  CHECK(best.recall() == Approx((0.8 + 0.7 + 0.2 + 0.1) / 4.0));
  CHECK(best.possible_recall() == Approx((0.8 + 0.7 + 0.8 + 0.7) / 4.0));
}

TEST_CASE("held-out points of equal scores take the first blocks") {
  auto points = points_of({0.25F, 0.25F, 0.25F, 0.25F}, {0.4F, 0.3F, 0.2F, 0.1F}, {3, 1, 1});
  CHECK(points["best 0.5"].recall() == Approx(0.7));
}

}  // namespace
}  // namespace seer
