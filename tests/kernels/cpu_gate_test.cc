// The CPU's gate against float64.
#include <algorithm>

#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Sums of up to 768 products (three pools of a head of 256), of size 1 or so.
constexpr Tolerance kProjection{1e-5, 1e-6};
// Raw scores are up to 20, and their softmax has a relative error as large as their absolute one.
constexpr Tolerance kScore{1e-5, 2e-6};
constexpr double kNearTheRule = 2e-5;

void check_gate_project(Backend& backend, const GateProjectCase& c) {
  INFO(c.name);
  const GateProjectResult actual = run_gate_project(backend, c);
  const reference::GateProject expected = reference::gate_project(c);
  CHECK(mismatch(actual.gate_q, expected.gate_q, kProjection) == "");
  CHECK(mismatch(actual.gate_k, expected.gate_k, kProjection) == "");
}

TEST_CASE("gate_project pools whole and partial blocks and writes only the segment's pages") {
  const auto cpu = make_cpu_backend(2);
  for (const GateProjectCase& c : gate_project_cases(cpu->activation_dtype())) check_gate_project(*cpu, c);
}

TEST_CASE("gate_project takes every combination of pools, with one weight and with two") {
  const auto cpu = make_cpu_backend(2);
  for (const GateProjectCase& c : gate_pool_cases(cpu->activation_dtype())) check_gate_project(*cpu, c);
}

TEST_CASE("gate_project takes the pools of normalised heads") {
  const auto cpu = make_cpu_backend(2);
  for (const GateProjectCase& c : norm_gate_project_cases(cpu->activation_dtype()))
    check_gate_project(*cpu, c);
}

TEST_CASE("select_blocks scores and keeps as the reference does") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectBlocksCase& c : select_blocks_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectBlocksResult actual = run_select_blocks(*cpu, c, true);
    const reference::SelectBlocks expected = reference::select_blocks(c);
    CHECK(mismatch(actual.scores, expected.scores, kScore) == "");
    CHECK(reference::mask_mismatch(c, actual, expected, kNearTheRule) == "");
  }
}

TEST_CASE("select_blocks of many rows, heads and blocks") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectBlocksCase& c : many_select_blocks_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectBlocksResult actual = run_select_blocks(*cpu, c, true);
    const reference::SelectBlocks expected = reference::select_blocks(c);
    CHECK(mismatch(actual.scores, expected.scores, kScore) == "");
    CHECK(reference::mask_mismatch(c, actual, expected, kNearTheRule) == "");
  }
}

TEST_CASE("select_blocks at ties, empty rows, chunks and the last two rows") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectBlocksCase& c : exact_select_blocks_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectBlocksResult actual = run_select_blocks(*cpu, c, false);
    CHECK(reference::mask_mismatch(c, actual, reference::select_blocks(c), 0.0) == "");
  }
}

// These lists were written by hand, because the reference has its author's reading of the rules.
TEST_CASE("select_blocks keeps the blocks that the rules say") {
  const auto cpu = make_cpu_backend(1);
  const std::vector<SelectBlocksCase> cases = exact_select_blocks_cases(cpu->activation_dtype());
  const auto named = [&](const std::string& name) {
    const auto c = std::find_if(cases.begin(), cases.end(), [&](const auto& x) { return x.name == name; });
    REQUIRE(c != cases.end());
    return *c;
  };
  const auto last_row = [&](const std::string& name) {
    const SelectBlocksCase c = named(name);
    const SelectBlocksResult r = run_select_blocks(*cpu, c, false);
    const auto begin = r.blocks.end() - c.row_capacity;
    return std::vector<int32_t>(begin, begin + r.counts.back());
  };
  const auto counts = [&](const std::string& name) {
    return run_select_blocks(*cpu, named(name), false).counts;
  };
  using List = std::vector<int32_t>;
  CHECK(last_row("equal scores, nz_ratio") == List{0, 1, 2});
  CHECK(last_row("ties at the last kept score, nz_ratio") == List{0, 2, 3});
  CHECK(last_row("the largest is not the diagonal, nz_ratio") == List{0});
  CHECK(last_row("a ratio that gives less than one block") == List{0});
  CHECK(last_row("a NaN key comes last, nz_ratio") == List{0, 2});
  CHECK(last_row("scores that equal the threshold are dropped") == List{3});
  CHECK(last_row("rows that keep nothing keep the diagonal") == List{7});
  CHECK(last_row("a NaN key leaves the diagonal, threshold") == List{3});
  CHECK(last_row("the last two rows of 3 are dense") == List{0, 1, 2});
  CHECK(last_row("a chunk's last rows are not the prompt's") == List{4});
  CHECK(last_row("the last but one row ends a chunk") == List{0, 1, 2, 3, 4, 5});
  CHECK(last_row("a threshold of zero keeps every block") == List{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(last_row("a NaN key in the last block, nz_ratio") == List{0, 1, 2});
  CHECK(last_row("a NaN key in the last block, threshold") == List{7});
  CHECK(last_row("as many as there are, nz_ratio") == List{0, 1, 2, 3, 4, 5, 6});
  CHECK(counts("half of each row, nz_ratio_row") == List{1, 1, 1, 2, 2, 3, 3, 4});
  CHECK(last_row("half of each row, nz_ratio_row") == List{0, 1, 2, 3});
  CHECK(counts("half of each row but the dense ones, nz_ratio_row") == List{1, 1, 1, 2, 2, 3, 7, 8});
  CHECK(counts("all of each row, nz_ratio_row") == List{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(counts("less than one block of a row, nz_ratio_row") == List{1, 1, 1, 1, 1, 1, 1, 1});
  CHECK(last_row("less than one block of a row, nz_ratio_row") == List{4});
  CHECK(last_row("ties at the last kept score, nz_ratio_row") == List{0, 2, 3});
  CHECK(last_row("a NaN key comes last, nz_ratio_row") == List{0, 2});
  CHECK(last_row("a chunk counts the rows' own blocks, nz_ratio_row") == List{0, 1, 2});
}

TEST_CASE("select_blocks keeps the same blocks whether or not it reports scores") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectBlocksCase& c : select_blocks_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectBlocksResult with = run_select_blocks(*cpu, c, true),
                             without = run_select_blocks(*cpu, c, false);
    CHECK(with.counts == without.counts);
    CHECK(with.blocks == without.blocks);
  }
}

// Chunks of a prompt give its rows the same scores as the whole prompt: page by page, from any block on.
TEST_CASE("select_blocks of a chunk is that of the whole prompt") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectBlocksCase& whole : select_blocks_cases(cpu->activation_dtype())) {
    const int64_t n_rows = whole.n_rows(whole.prefills[0]), first_row = n_rows / 2;
    if (whole.prefills[0].start != 0 || first_row == 0) continue;
    INFO(whole.name);
    SelectBlocksCase chunk = whole;
    CaseSegment& s = chunk.prefills[0];
    s.start = first_row * whole.page;
    s.n_tokens -= s.start;
    const int64_t row_size = whole.n_heads * whole.gate_q.dim(2);
    chunk.gate_q =
        HostTensor(whole.gate_q.dtype, {n_rows - first_row, whole.n_heads, whole.gate_q.dim(2)},
                   {whole.gate_q.values.begin() + first_row * row_size, whole.gate_q.values.end()});
    const SelectBlocksResult all = run_select_blocks(*cpu, whole, false);
    const SelectBlocksResult part = run_select_blocks(*cpu, chunk, false);
    for (int64_t h = 0; h < whole.n_heads; ++h)
      for (int64_t r = first_row; r < n_rows; ++r) {
        const int64_t i = h * n_rows + r, j = h * (n_rows - first_row) + r - first_row;
        const int32_t count = all.counts[static_cast<size_t>(i)];
        REQUIRE(part.counts[static_cast<size_t>(j)] == count);
        const auto expected = all.blocks.begin() + i * whole.row_capacity;
        REQUIRE(std::equal(expected, expected + count, part.blocks.begin() + j * whole.row_capacity));
      }
  }
}

}  // namespace
}  // namespace seer::testing
