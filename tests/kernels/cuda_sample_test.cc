// The choice of tokens on the GPU, compared with its definition in float64 and with itself.
#include "tests/kernels/gpu.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/token_losses_cases.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Weights are float32 in units of 2^-40, so a draw this close to the edge between two tokens may fall to
// either.
constexpr double kEdge = 1e-5;

TEST_CASE("cuda: sample at ties, edges and logits that are no numbers") {
  const auto device = gpu();
  if (!device) return;
  for (const SampleCase& c : exact_sample_cases()) {
    INFO(c.name);
    CHECK(reference::sample_mismatch(c, run_sample(*device, c), 0.0) == "");
  }
}

TEST_CASE(
    "cuda: sample gives the CPU's tokens on random rows under every rule, and the same ones each time") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  int n_rows = 0, n_equal = 0;
  for (const SampleCase& c : random_sample_cases()) {
    INFO(c.name);
    const std::vector<int32_t> actual = run_sample(*device, c), expected = run_sample(*cpu, c);
    CHECK(reference::sample_mismatch(c, actual, kEdge) == "");
    for (int i = 0; i < 3; ++i) CHECK(run_sample(*device, c) == actual);
    for (size_t r = 0; r < actual.size(); ++r, ++n_rows) n_equal += actual[r] == expected[r] ? 1 : 0;
  }
  CHECK(n_equal > n_rows - n_rows / 50);  // the others are on the edge
}

TEST_CASE("cuda: the loss of a row is log of the sum of exponentials less the target's logit") {
  const auto device = gpu();
  if (!device) return;
  for (const TokenLossesCase& c : token_losses_cases()) CHECK(token_losses_mismatch(*device, c) == "");
}

TEST_CASE("cuda: no rows give no ids") {
  const auto device = gpu();
  if (!device) return;
  CHECK(run_sample(*device, {"none", HostTensor::filled(DType::kF32, {0, 320}, 0.0F), {}}).empty());
}

}  // namespace
}  // namespace seer::testing
