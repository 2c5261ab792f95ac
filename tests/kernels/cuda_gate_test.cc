// The gate on the GPU against float64.
#include "tests/kernels/compare.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Pools are rounded to bf16 before the projection, and its rotated result after it. Sums of hundreds of
// products of size 1 whose factors are off by 2^-9 each are off by a few hundredths.
constexpr Tolerance kProjection{4e-2, 8e-3};
// After the bf16 inputs everything is float32; exp and the order of the sum differ.
constexpr Tolerance kScore{1e-4, 1e-4};
constexpr double kNearTheRule = 2e-4;

bool takes(const PagedCase& c, int64_t d_gate) {
  return gpu_takes(c) && (d_gate == 64 || d_gate == 96 || d_gate == 128 || d_gate == 256);
}

void check_gate_project(Backend& device, const GateProjectCase& c) {
  if (!takes(c, c.d_gate())) return;
  INFO(c.name);
  const GateProjectResult actual = run_gate_project(device, c);
  const reference::GateProject expected = reference::gate_project(c);
  CHECK(mismatch(actual.gate_q, expected.gate_q, kProjection) == "");
  CHECK(mismatch(actual.gate_k, expected.gate_k, kProjection) == "");
}

TEST_CASE("cuda: gate_project pools whole and partial blocks and writes only the segment's pages") {
  const auto device = gpu();
  if (!device) return;
  for (const GateProjectCase& c : gate_project_cases(DType::kBF16)) check_gate_project(*device, c);
}

TEST_CASE("cuda: gate_project takes every combination of pools, with one weight and with two") {
  const auto device = gpu();
  if (!device) return;
  for (const GateProjectCase& c : gate_pool_cases(DType::kBF16)) check_gate_project(*device, c);
}

TEST_CASE("cuda: gate_project takes the pools of normalised heads") {
  const auto device = gpu();
  if (!device) return;
  for (const GateProjectCase& c : norm_gate_project_cases(DType::kBF16)) check_gate_project(*device, c);
}

void check_select_blocks(Backend& device, const SelectBlocksCase& c) {
  if (!takes(c, c.gate_q.dim(2))) return;
  INFO(c.name);
  const SelectBlocksResult actual = run_select_blocks(device, c, true);
  const reference::SelectBlocks expected = reference::select_blocks(c);
  CHECK(mismatch(actual.scores, expected.scores, kScore) == "");
  CHECK(reference::mask_mismatch(c, actual, expected, kNearTheRule) == "");
}

TEST_CASE("cuda: select_blocks scores and keeps as the reference does") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectBlocksCase& c : select_blocks_cases(DType::kBF16)) check_select_blocks(*device, c);
}

TEST_CASE("cuda: select_blocks at the edges of tiles and with long rows") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectBlocksCase& c : many_select_blocks_cases(DType::kBF16)) check_select_blocks(*device, c);
}

TEST_CASE("cuda: select_blocks keeps the same blocks whether or not it reports scores") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectBlocksCase& c : select_blocks_cases(DType::kBF16)) {
    if (!takes(c, c.gate_q.dim(2))) continue;
    INFO(c.name);
    const SelectBlocksResult with = run_select_blocks(*device, c, true),
                             without = run_select_blocks(*device, c, false);
    CHECK(with.counts == without.counts);
    CHECK(with.blocks == without.blocks);
  }
}

TEST_CASE("cuda: select_blocks at ties, empty rows, chunks and the last two rows") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectBlocksCase& c : exact_select_blocks_cases(DType::kBF16)) {
    if (!takes(c, c.gate_q.dim(2))) continue;
    INFO(c.name);
    CHECK(reference::mask_mismatch(c, run_select_blocks(*device, c, false), reference::select_blocks(c),
                                   0.0) == "");
  }
}

}  // namespace
}  // namespace seer::testing
