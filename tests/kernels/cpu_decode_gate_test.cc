// The CPU's gate for decoding against float64.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/decode_gate_cases.h"
#include "tests/kernels/page_types.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Keys are sums of up to 768 products of size 1 or so. Cosines in tables have an error of 6e-8 each.
constexpr Tolerance kDecodeKeys{1e-5, 1e-6};
// Scores before the softmax are below 10, and a softmaxed score has their absolute error as its relative one.
constexpr Tolerance kDecodeScores{1e-7, 1e-5};
constexpr Tolerance kNearTheDecodeRule{1e-7, 2e-5};
constexpr Tolerance kMaskedAttention{3e-6, 0.0};

TEST_CASE("store_decode_gate_keys makes the keys of full pages alone, and reads no other page") {
  const auto cpu = make_cpu_backend(2);
  for (const StoreDecodeKeysCase& c : with_each_page_type(*cpu, store_decode_keys_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_store_decode_keys(*cpu, c), reference::store_decode_keys(c), kDecodeKeys) == "");
  }
}

TEST_CASE("store_decode_gate_keys of a step's prefills leaves the pages of its decodes alone") {
  const auto cpu = make_cpu_backend(2);
  for (StoreDecodeKeysCase c : store_decode_keys_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const std::vector<float> actual = run_store_decode_keys(*cpu, c, true);
    c.decodes.clear();
    CHECK(mismatch(actual, reference::store_decode_keys(c), kDecodeKeys) == "");
  }
}

TEST_CASE("select_decode_blocks scores and keeps as the reference does") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectDecodeCase& c : select_decode_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectDecodeResult actual = run_select_decode(*cpu, c, true);
    const reference::SelectDecode expected = reference::select_decode(c);
    CHECK(mismatch(actual.scores, expected.scores, kDecodeScores) == "");
    CHECK(reference::decode_mask_mismatch(c, actual, expected, kNearTheDecodeRule) == "");
  }
}

TEST_CASE("select_decode_blocks at ties, edges of rules, and few and many blocks") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectDecodeCase& c : exact_select_decode_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectDecodeResult actual = run_select_decode(*cpu, c, true);
    const reference::SelectDecode expected = reference::select_decode(c);
    CHECK(mismatch(actual.scores, expected.scores, kDecodeScores) == "");
    CHECK(reference::decode_mask_mismatch(c, actual, expected, {}) == "");
  }
}

// These lists were written by hand, because the reference has its author's reading of the rules.
TEST_CASE("select_decode_blocks keeps the blocks that the rules say") {
  const auto cpu = make_cpu_backend(1);
  const std::vector<SelectDecodeCase> cases = exact_select_decode_cases(cpu->activation_dtype());
  const auto kept = [&](const std::string& name) {
    const auto c = std::find_if(cases.begin(), cases.end(), [&](const auto& x) { return x.name == name; });
    INFO(name);
    REQUIRE(c != cases.end());
    return run_select_decode(*cpu, *c, false).list(0, 0, 1);
  };
  using List = std::vector<int32_t>;
  CHECK(kept("one block, budget=16.000000") == List{0});
  CHECK(kept("one open block, budget=0.000000") == List{0});
  CHECK(kept("one open block, threshold=0.999000") == List{0});
  CHECK(kept("two blocks, budget=0.000000") == List{0, 1});
  CHECK(kept("equal scores, budget=48.000000") == List{0, 1, 2, 7});
  CHECK(kept("equal scores, threshold=0.125000") == List{0, 7});
  CHECK(kept("equal scores, threshold=0.124000") == List{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(kept("equal scores, ratio=0.500000") == List{0, 1, 2, 3, 7});
  CHECK(kept("equal scores, the last block open, threshold=0.125000") == List{0, 7});
  CHECK(kept("ties at the last kept score, budget=48.000000") == List{0, 2, 3, 7});
  CHECK(kept("ties with the open block, budget=48.000000") == List{0, 2, 3, 7});
  CHECK(kept("the open block is among the best, budget=16.000000") == List{0, 7});
  CHECK(kept("the first and the last are among the best, budget=48.000000") == List{0, 2, 7});
  CHECK(kept("the first and the last come on top, budget=48.000000") == List{0, 1, 2, 3, 7});
  CHECK(kept("a budget of one block, budget=16.000000") == List{0, 7});
  CHECK(kept("a budget below one block, budget=15.000000") == List{0, 7});
  CHECK(kept("a budget of no tokens, budget=0.000000") == List{0, 7});
  CHECK(kept("a budget of a block and a half, budget=24.000000") == List{0, 7});
  CHECK(kept("a budget of all blocks but one, budget=112.000000") == List{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(kept("a ratio of less than one block, ratio=0.000001") == List{0, 7});
  CHECK(kept("a ratio of nearly all blocks, ratio=0.999000") == List{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(kept("a threshold that only the last block passes, threshold=0.500000") == List{0, 7});
  CHECK(kept("a threshold that no block passes, threshold=0.900000") == List{0, 7});
  CHECK(kept("one score far above the others, threshold=0.000000") == List{0, 2, 5});
  CHECK(kept("scores of hundreds, budget=16.000000") == List{0, 4, 5});
}

TEST_CASE("select_decode_blocks keeps the same blocks whether or not it reports scores") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectDecodeCase& c : select_decode_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectDecodeResult with = run_select_decode(*cpu, c, true),
                             without = run_select_decode(*cpu, c, false);
    CHECK(with.counts == without.counts);
    CHECK(with.blocks == without.blocks);
  }
}

TEST_CASE("select_decode_blocks gives each decode what it gets alone") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectDecodeCase& c : select_decode_cases(cpu->activation_dtype())) {
    const auto n = static_cast<int64_t>(c.decodes.size());
    if (n == 1) continue;
    const SelectDecodeResult together = run_select_decode(*cpu, c, true);
    for (int64_t i = 0; i < n; ++i) {
      const SelectDecodeCase alone = only_decode(c, static_cast<size_t>(i));
      INFO(alone.name);
      const SelectDecodeResult r = run_select_decode(*cpu, alone, true);
      for (int64_t h = 0; h < c.n_kv_heads; ++h) {
        REQUIRE(r.list(h, 0, 1) == together.list(h, i, n));
        const auto scores = [&](const SelectDecodeResult& of, int64_t row) {
          const auto begin = of.scores.begin() + row * c.row_capacity;
          return std::vector<float>(begin, begin + c.row_capacity);
        };
        REQUIRE(same_bits(scores(r, h), scores(together, h * n + i)));
      }
    }
  }
}

TEST_CASE("decode attention over kept blocks is the reference's and reads no dropped tile") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, masked_decode_cases)) {
    INFO(c.name);
    CHECK(mismatch(run_decode_attention(*cpu, c), reference::decode_attention(c), kMaskedAttention) == "");
  }
}

TEST_CASE("scores of parts, added up, are chosen from as those of one device are") {
  const auto cpu = make_cpu_backend(2);
  for (const SelectDecodeCase& c : select_decode_cases(cpu->activation_dtype())) {
    INFO(c.name);
    const SelectDecodeResult whole = run_select_decode(*cpu, c, true);
    for (const int64_t n_parts : {1, 3}) {
      const SelectDecodeResult divided = run_divided_select(*cpu, c, n_parts);
      CHECK(divided.counts == whole.counts);
      CHECK(divided.blocks == whole.blocks);
      for (size_t i = 0; i < whole.scores.size(); ++i)
        if (!std::isnan(whole.scores[i]))
          REQUIRE(divided.scores[i] == whole.scores[i]);  // the scores of dense decodes are NaN
    }
  }
}

TEST_CASE("attention over kept blocks in parts, merged, is the reference's") {
  const auto cpu = make_cpu_backend(2);
  for (const AttentionCase& c : with_each_page_type(*cpu, masked_decode_cases))
    for (const int64_t n_parts : {1, 3}) {
      const AttentionPartsCase parts = in_parts(c, n_parts, 2);
      INFO(parts.name);
      CHECK(mismatch(run_masked_parts(*cpu, parts), reference::decode_attention(c), kMaskedAttention) == "");
    }
}

TEST_CASE("store_decode_gate_keys of decodes alone stores the pages that are here") {
  const auto cpu = make_cpu_backend(2);
  for (StoreDecodeKeysCase c : store_decode_keys_cases(cpu->activation_dtype())) {
    c.prefills.clear();
    for (size_t i = 0; i < c.decodes.size(); i += 2) c.decodes[i].page_table.back() = -1;
    INFO(c.name);
    const std::vector<float> actual = run_store_decode_keys(*cpu, c);
    for (size_t i = 0; i < c.decodes.size(); i += 2) c.decodes[i].start = 0;  // the token fills no page
    CHECK(mismatch(actual, reference::store_decode_keys(c), kDecodeKeys) == "");
  }
}

TEST_CASE("decode attention with lists of all blocks is dense attention bit for bit") {
  const auto cpu = make_cpu_backend(2);
  for (AttentionCase c : with_each_page_type(*cpu, decode_cases)) {
    INFO(c.name);
    const std::vector<float> dense = run_decode_attention(*cpu, c);
    for (int64_t h = 0; h < c.n_kv_heads; ++h)
      for (const CaseSegment& s : c.decodes) {
        std::vector<int32_t>& list = c.decode_mask.kept.emplace_back();
        for (size_t b = 0; b < s.page_table.size(); ++b) list.push_back(static_cast<int32_t>(b));
        c.decode_mask.row_capacity = std::max(c.decode_mask.row_capacity, static_cast<int64_t>(list.size()));
      }
    CHECK(same_bits(run_decode_attention(*cpu, c), dense));
  }
}

}  // namespace
}  // namespace seer::testing
