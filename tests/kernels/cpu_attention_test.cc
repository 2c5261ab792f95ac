// The CPU's attention over pages against float64.
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/page_types.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Values are below 1 and weights sum to 1; scores of up to 20 carry an error of 1e-6 each.
constexpr Tolerance kAttention{3e-6, 0.0};

// Returns the same numbers in float32 pages.
template <class Case>
Case in_float32(Case c) {
  c.k.dtype = c.v.dtype = DType::kF32;
  return c;
}

TEST_CASE("dense prefill attention is the reference's on steps of several sequences") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, dense_prefill_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*cpu, c), reference::prefill_attention(c), kAttention) == "");
  }
}

TEST_CASE("masked prefill attention is the reference's and reads no dropped tile") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, masked_prefill_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*cpu, c), reference::prefill_attention(c), kAttention) == "");
  }
}

TEST_CASE("prefill attention stays right when scores grow or shrink by hundreds along the keys") {
  // Scores of hundreds carry an error of 1e-4 each.
  constexpr Tolerance kLargeScores{1e-3, 0.0};
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, growing_scores_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*cpu, c), reference::prefill_attention(c), kLargeScores) == "");
  }
}

TEST_CASE("a mask of every causal block is dense attention", "[long]") {
  const auto cpu = make_cpu_backend(2);
  for (AttentionCase c : with_each_page_type(*cpu, dense_prefill_cases)) {
    INFO(c.name);
    const std::vector<double> expected = reference::prefill_attention(c);
    for (const CaseSegment& s : c.prefills) {
      CaseMask mask{s.start / c.page + c.n_rows(s), {}};
      for (int64_t i = 0; i < c.n_heads * c.n_rows(s); ++i) {
        std::vector<int32_t> row;
        for (int64_t j = 0; j <= s.start / c.page + i % c.n_rows(s); ++j)
          row.push_back(static_cast<int32_t>(j));
        mask.kept.push_back(std::move(row));
      }
      c.masks.push_back(std::move(mask));
    }
    CHECK(mismatch(run_prefill_attention(*cpu, c), expected, kAttention) == "");
  }
}

TEST_CASE("decode attention is the reference's on sequences of unequal length") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, decode_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_decode_attention(*cpu, c), reference::decode_attention(c), kAttention) == "");
  }
}

TEST_CASE("decode attention in parts is the reference's, and merged it is that of the whole") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionPartsCase& c : with_each_page_type(*cpu, attention_parts_cases)) {
    INFO(c.name);
    const AttentionPartsResult actual = run_attention_parts(*cpu, c);
    const reference::AttentionParts expected = reference::attention_parts(c);
    CHECK(mismatch(actual.outputs, expected.outputs, kAttention) == "");
    CHECK(mismatch(actual.log_sums, expected.log_sums, {3e-6, 1e-6}) == "");
    CHECK(mismatch(actual.merged, expected.merged, kAttention) == "");
  }
}

TEST_CASE("parts whose scores lie hundreds apart are merged to the largest's") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& whole : with_each_page_type(*cpu, decode_cases)) {
    AttentionPartsCase c = in_parts(whole, 3, 1);
    INFO(c.name);
    for (float& x : c.q.values) x *= 40.0F;
    const reference::AttentionParts expected = reference::attention_parts(c);
    CHECK(mismatch(run_attention_parts(*cpu, c).merged, expected.merged, {2e-3, 0.0}) == "");
  }
}

TEST_CASE("parts without keys are merged as if they were not there, and none at all gives zeros") {
  check_merge_without_keys(*make_cpu_backend(2));
}

TEST_CASE("a NaN in one query reaches its own output and no other") {
  const auto cpu = make_cpu_backend(2);
  for (const CaseTypes& types : page_types(*cpu)) {
    AttentionCase c = dense_prefill_cases(types).front();
    const int64_t row = c.prefills[0].row + 70, head = 3;
    c.q.at(row)[head * c.d_head + 1] = kNan;
    CHECK(mismatch(run_prefill_attention(*cpu, c), reference::prefill_attention(c), kAttention) == "");
    AttentionCase decode = decode_cases(types).front();
    decode.q.at(decode.decodes[2].row)[0] = kNan;
    const std::vector<double> expected = reference::decode_attention(decode);
    CHECK(mismatch(run_decode_attention(*cpu, decode), expected, kAttention) == "");
    CHECK(mismatch(run_attention_parts(*cpu, in_parts(decode, 3, 1)).merged, expected, kAttention) == "");
  }
}

// Thus the documented properties of float32 pages (chunks, threads, parts) also hold for bf16 pages: both go
// through the same arithmetic in the same order.
TEST_CASE("attention over bf16 pages has the bits of attention over float32 pages of the same numbers") {
  const auto cpu = make_cpu_backend(2);
  const CaseTypes narrow(cpu->activation_dtype(), DType::kBF16);
  for (const AttentionCase& c : dense_prefill_cases(narrow)) {
    INFO(c.name);
    CHECK(same_bits(run_prefill_attention(*cpu, c), run_prefill_attention(*cpu, in_float32(c))));
  }
  for (const AttentionCase& c : masked_prefill_cases(narrow)) {
    INFO(c.name);
    CHECK(same_bits(run_prefill_attention(*cpu, c), run_prefill_attention(*cpu, in_float32(c))));
  }
  for (const AttentionCase& c : decode_cases(narrow)) {
    INFO(c.name);
    CHECK(same_bits(run_decode_attention(*cpu, c), run_decode_attention(*cpu, in_float32(c))));
    const AttentionPartsCase parts = in_parts(c, 3, 2);
    CHECK(same_bits(run_attention_parts(*cpu, parts).merged,
                    run_attention_parts(*cpu, in_float32(parts)).merged));
  }
}

TEST_CASE("attention does not depend on the number of threads") {
  const auto one = make_cpu_backend(1), three = make_cpu_backend(3);
  for (const CaseTypes& types : page_types(*one)) {
    const AttentionCase prefill = masked_prefill_cases(types).front();
    CHECK(same_bits(run_prefill_attention(*one, prefill), run_prefill_attention(*three, prefill)));
    const AttentionCase decode = decode_cases(types).front();
    CHECK(same_bits(run_decode_attention(*one, decode), run_decode_attention(*three, decode)));
    const AttentionPartsCase parts = in_parts(decode, 2, 1);
    CHECK(same_bits(run_attention_parts(*one, parts).merged, run_attention_parts(*three, parts).merged));
  }
}

// The online softmax must keep its sums in step with the running maximum, also if scores are far apart, in
// either order.
TEST_CASE("attention with scores hundreds apart picks the largest") {
  const auto cpu = make_cpu_backend(2);
  for (AttentionCase c : with_each_page_type(*cpu, decode_cases)) {
    INFO(c.name);
    for (float& x : c.q.values) x *= 40.0F;
    // The error of a score grows with it: 2^-24 of sums of up to 1e4.
    CHECK(mismatch(run_decode_attention(*cpu, c), reference::decode_attention(c), {2e-3, 0.0}) == "");
  }
  for (const CaseTypes& types : page_types(*cpu)) {
    AttentionCase c = dense_prefill_cases(types).front();
    for (float& x : c.q.values) x *= 40.0F;
    CHECK(mismatch(run_prefill_attention(*cpu, c), reference::prefill_attention(c), {2e-3, 0.0}) == "");
  }
}

}  // namespace
}  // namespace seer::testing
