// Gates learn the same from a window whose attention and ground truth are computed in parts as from a whole
// one.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/models/distill_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DistillRunner;
using testing::TinyModel;
using testing::TinyShape;

// Bytes of the maxima of so many tokens: 8 blocks, each with a number of every head.
int64_t bytes_of_maxima(int64_t n_tokens, const TinyShape& shape) { return n_tokens * shape.n_heads * 8 * 4; }

void check_parts(const GateSpec& spec, int64_t row_stride) {
  INFO(spec.type << ", every " << row_stride);
  const TinyModel tiny;
  // Without room for any maxima a part has one block. With room for 50 tokens it has three blocks of 16, so
  // the last part is shorter.
  for (const int64_t n_tokens : {0, 50, 127}) {
    INFO("room for " << n_tokens << " tokens");
    TrainerOptions options = DistillRunner::options(0.01);
    options.row_stride = row_stride;
    DistillRunner whole(tiny, spec, options, make_cpu_backend(2));
    options.maxima_bytes = bytes_of_maxima(n_tokens, tiny.shape());
    DistillRunner parts(tiny, spec, options, make_cpu_backend(2));
    const std::vector<double> expected = whole.step().losses, found = parts.step().losses;
    REQUIRE(found.size() == expected.size());
    for (size_t l = 0; l < found.size(); ++l) CHECK(found[l] == Approx(expected[l]).epsilon(1e-5));
    const std::vector<float> a = whole.trainer().gradients(), b = parts.trainer().gradients();
    double worst = 0.0, largest = 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
      largest = std::max(largest, std::abs(static_cast<double>(a[i])));
    }
    CHECK(largest > 0.0);
    CHECK(worst < 1e-4 * largest);
  }
}

TEST_CASE("parts of a window teach gates for prompts what the whole window does") {
  check_parts(testing::prefill_spec("Qavg_Kmaxminavg"), 1);
}

TEST_CASE(
    "parts of a window teach gates for decoding what the whole window does, from each row and from some") {
  for (const int64_t row_stride : {1, 7}) check_parts(testing::decode_spec("Qproj_Kmaxminavg"), row_stride);
}

}  // namespace
}  // namespace seer
