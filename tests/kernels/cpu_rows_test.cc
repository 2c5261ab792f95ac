// The CPU's operations on rows, compared with float64. Both sides read the same values, so only float32's
// rounding of sums is left.
#include "tests/kernels/compare.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/record_copies.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Outputs are of size 1 or so, from sums of up to 130 products.
constexpr Tolerance kRowSum{5e-6, 1e-6};
// A few operations of 2^-24 each.
constexpr Tolerance kRowElement{1e-7, 1e-6};
constexpr Tolerance kRotated{2e-7, 2e-7};
// Normalised heads are of size 1 or so, but their rotation and averages may cancel, so this bound is larger.
constexpr Tolerance kNormalised{2e-6, 1e-6};

TEST_CASE("embed copies the rows of a table in any stored type") {
  const auto cpu = make_cpu_backend(2);
  for (const EmbedCase& c : embed_cases()) {
    INFO(c.name);
    CHECK(mismatch(run_embed(*cpu, c), reference::embed(c), {}) == "");
  }
}

TEST_CASE(
    "what ranks need of rows is exact: parts of a table, sums, columns, pages, kept blocks, random slices") {
  const auto cpu = make_cpu_backend(2);
  check_partial_embed(*cpu);
  check_add(*cpu);
  check_copy_columns(*cpu);
  check_copy_rows(*cpu);
  check_rows_to_host(*cpu);
  check_mark_blocks(*cpu);
  check_random_slices(*cpu);
}

TEST_CASE("records of several tensors' rows are copied to the host and back") {
  check_record_copies(*make_cpu_backend(2));
}

TEST_CASE("rms_norm is the reference's") {
  const auto cpu = make_cpu_backend(2);
  for (const RmsNormCase& c : rms_norm_cases(cpu->activation_dtype())) {
    INFO(c.name);
    CHECK(mismatch(run_rms_norm(*cpu, c), reference::rms_norm(c), kRowElement) == "");
  }
}

TEST_CASE("linear is the reference's on few and many rows, in parts, with biases and added to its output") {
  const auto cpu = make_cpu_backend(2);
  for (const LinearCase& c : linear_cases(cpu->activation_dtype())) {
    INFO(c.name);
    CHECK(mismatch(run_linear(*cpu, c), reference::linear(c), kRowSum) == "");
  }
}

TEST_CASE("silu_mul is the reference's, far from zero too") {
  const auto cpu = make_cpu_backend(2);
  for (const SiluMulCase& c : silu_mul_cases(cpu->activation_dtype())) {
    INFO(c.name);
    CHECK(mismatch(run_silu_mul(*cpu, c), reference::silu_mul(c), kRowElement) == "");
  }
}

TEST_CASE("gather_rows copies rows in the order asked") {
  const auto cpu = make_cpu_backend(2);
  for (const GatherRowsCase& c : gather_rows_cases(cpu->activation_dtype())) {
    INFO(c.name);
    CHECK(mismatch(run_gather_rows(*cpu, c), reference::gather_rows(c), {}) == "");
  }
}

// The tolerance is half a unit in the last place: angles of far positions are exact to float64, which float32
// angles are not.
TEST_CASE("rope_table is exact at far positions") {
  const auto cpu = make_cpu_backend(2);
  for (const RopeTableCase& c : rope_table_cases()) {
    INFO(c.name);
    CHECK(mismatch(run_rope_table(*cpu, c), reference::rope_table(c), {1e-10, 0x1p-24}) == "");
  }
}

TEST_CASE("decode_rope_table has a row for the position of each of the step's decodes") {
  const auto cpu = make_cpu_backend(2);
  for (const RopeTableCase& c : rope_table_cases()) {
    INFO(c.name);
    CHECK(run_decode_rope_table(*cpu, c) == run_rope_table(*cpu, c));
  }
}

TEST_CASE("decode_rope_table rounds positions down to a multiple") {
  const auto cpu = make_cpu_backend(2);
  for (const RopeTableCase& c : rope_table_cases())
    for (const int64_t multiple : {16, 32, 64}) {
      if (c.start % multiple != 0 || c.stride % multiple != 0) continue;
      INFO(c.name << ", multiples of " << multiple);
      CHECK(run_decode_rope_table(*cpu, c, multiple) == run_rope_table(*cpu, c));
    }
}

TEST_CASE("append_kv rotates queries and keys and writes only the new tokens' slots") {
  const auto cpu = make_cpu_backend(2);
  for (const AppendKvCase& c : append_kv_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*cpu, c);
    const reference::AppendKv expected = reference::append_kv(c);
    CHECK(mismatch(actual.q, expected.q, kRotated) == "");
    CHECK(mismatch(actual.k, expected.k, kRotated) == "");
    CHECK(mismatch(actual.v, expected.v, {}) == "");
  }
}

TEST_CASE("append_kv of a decode whose page is elsewhere rotates the query and stores nothing") {
  const auto cpu = make_cpu_backend(2);
  for (const AppendKvCase& c : elsewhere_append_kv_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*cpu, c);
    const reference::AppendKv expected = reference::append_kv(c);
    const Tolerance tolerance = c.norms.q.empty() ? kRotated : kNormalised;
    CHECK(mismatch(actual.q, expected.q, tolerance) == "");
    CHECK(mismatch(actual.k, expected.k, tolerance) == "");
    CHECK(mismatch(actual.v, expected.v, {}) == "");
  }
}

TEST_CASE("append_kv normalises query and key heads before it pools and rotates them") {
  const auto cpu = make_cpu_backend(2);
  for (const AppendKvCase& c : norm_append_kv_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*cpu, c);
    const reference::AppendKv expected = reference::append_kv(c);
    CHECK(mismatch(actual.q, expected.q, kNormalised) == "");
    CHECK(mismatch(actual.k, expected.k, kNormalised) == "");
    CHECK(mismatch(actual.v, expected.v, {}) == "");
    CHECK(mismatch(actual.pooled_q, expected.pooled_q, kNormalised) == "");
    CHECK(mismatch(actual.pooled_k, expected.pooled_k, kNormalised) == "");
    CHECK(same_bits(actual.qkv, c.qkv.values));
  }
}

// Rotated keys and norms may round to either side of a tie in float64, so the reference is the float32 pages'
// content, rounded by code outside of the library.
TEST_CASE("append_kv rounds to the nearest bf16 what float32 pages get, and pools from what is not rounded") {
  const auto cpu = make_cpu_backend(2);
  const auto check = [&](std::vector<AppendKvCase> wide, const std::vector<AppendKvCase>& narrow) {
    REQUIRE(wide.size() == narrow.size());
    for (size_t i = 0; i < wide.size(); ++i) {
      INFO(narrow[i].name);
      wide[i].k.values = narrow[i].k.values;  // the earlier content of pages is bf16 in both
      wide[i].v.values = narrow[i].v.values;
      const AppendKvResult exact = run_append_kv(*cpu, wide[i]), rounded = run_append_kv(*cpu, narrow[i]);
      CHECK(same_bits(rounded.k, HostTensor(DType::kBF16, wide[i].k.shape, exact.k).values));
      CHECK(same_bits(rounded.v, HostTensor(DType::kBF16, wide[i].v.shape, exact.v).values));
      CHECK(same_bits(rounded.q, exact.q));
      CHECK(same_bits(rounded.pooled_q, exact.pooled_q));
      CHECK(same_bits(rounded.pooled_k, exact.pooled_k));
      CHECK(same_bits(rounded.qkv, exact.qkv));
      // A unit in the last of bf16's 8 bits is 2^-7 of the leading bit, so half of it is at most 2^-8.
      constexpr Tolerance kRounded{1e-6, 0x1p-8 + 1e-5};
      const reference::AppendKv expected = reference::append_kv(narrow[i]);
      CHECK(mismatch(rounded.k, expected.k, kRounded) == "");
      CHECK(mismatch(rounded.v, expected.v, kRounded) == "");
    }
  };
  const CaseTypes types(cpu->activation_dtype(), DType::kBF16);
  check(append_kv_cases(cpu->activation_dtype()), append_kv_cases(types));
  check(elsewhere_append_kv_cases(cpu->activation_dtype()), elsewhere_append_kv_cases(types));
  check(norm_append_kv_cases(cpu->activation_dtype()), norm_append_kv_cases(types));
}

TEST_CASE("results do not depend on the number of threads") {
  const auto one = make_cpu_backend(1), three = make_cpu_backend(3);
  for (const LinearCase& c : linear_cases(one->activation_dtype())) {
    INFO(c.name);
    CHECK(same_bits(run_linear(*one, c), run_linear(*three, c)));
  }
  for (const RmsNormCase& c : rms_norm_cases(one->activation_dtype()))
    CHECK(same_bits(run_rms_norm(*one, c), run_rms_norm(*three, c)));
  for (const AppendKvCase& c : append_kv_cases(one->activation_dtype()))
    CHECK(same_bits(run_append_kv(*one, c).k, run_append_kv(*three, c).k));
  for (const AppendKvCase& c : norm_append_kv_cases(one->activation_dtype())) {
    const AppendKvResult a = run_append_kv(*one, c), b = run_append_kv(*three, c);
    CHECK(same_bits(a.k, b.k));
    CHECK(same_bits(a.pooled_q, b.pooled_q));
  }
}

}  // namespace
}  // namespace seer::testing
