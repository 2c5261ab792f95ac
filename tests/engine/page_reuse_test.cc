// The properties that contents of pages depend on, case by case. Pages have 16 tokens, and a prompt 100 of
// them in 7 blocks, unless a test says otherwise.
#include "engine/src/page_reuse.h"

#include "tests/engine/demo.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kReusedPage = 16, kPrompt = 100;

PageReuse after(const SparseRule& rule, bool last_block_dense = true, int64_t n_tokens = kPrompt,
                bool share = true) {
  PageReuse reuse({kReusedPage, last_block_dense, false});
  reuse.begin(rule, n_tokens, share);
  return reuse;
}

TEST_CASE("page reuse: a longer prompt keeps what is decoded or not, as the rule allows") {
  const int64_t computed = 150, longer = 170;
  CHECK(after(kDense).reusable(kDense, longer, computed) == computed);
  CHECK(after(kLowNzRatio).reusable(kLowNzRatio, longer, computed) == 0);
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatioRow}) {
    INFO(rule.to_string());
    CHECK(after(rule).reusable(rule, longer, computed) == 5 * kReusedPage);
    CHECK(after(rule, false).reusable(rule, longer, computed) == kPrompt);
    CHECK(after(rule).reusable(rule, longer, 48) == 48);
  }
}

TEST_CASE("page reuse: a shorter prompt's own dense rows are not those of the cancelled one before it") {
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatioRow}) {
    INFO(rule.to_string());
    CHECK(after(rule).reusable(rule, 70, 64) == 3 * kReusedPage);  // 5 blocks
    CHECK(after(rule, false).reusable(rule, 70, 64) == 64);
    for (const int64_t n : {1, 16, 17, 32}) CHECK(after(rule).reusable(rule, n, n) == 0);  // up to 2 blocks
  }
}

TEST_CASE("page reuse: another rule, or the same with another value, keeps nothing") {
  CHECK(after(kLowThreshold).reusable(kDense, 200, 100) == 0);
  CHECK(after(kDense).reusable(kLowThreshold, 200, 100) == 0);
  CHECK(after(kLowNzRatioRow).reusable(kLowNzRatio, 200, 100) == 0);
  CHECK(after(kLowNzRatioRow).reusable(SparseRule::parse("nz_ratio_row=0.2"), 200, 100) == 0);
  CHECK(PageReuse({kReusedPage, true, false}).reusable(kDense, 100, 0) == 0);
}

TEST_CASE("page reuse: what may be shared ends where the dense rows begin, and without a page that is open") {
  CHECK(after(kDense).n_shareable_pages(150) == 9);
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatio, kLowNzRatioRow}) {
    INFO(rule.to_string());
    CHECK(after(rule).n_shareable_pages(150) == 5);
    CHECK(after(rule, false).n_shareable_pages(150) == 6);
    CHECK(after(rule, true, 96).n_shareable_pages(150) == 4);
    CHECK(after(rule, false, 96).n_shareable_pages(150) == 6);
    CHECK(after(rule, true, 32).n_shareable_pages(150) == 0);
    CHECK(after(rule, true, kPrompt, false).n_shareable_pages(150) == 0);
  }
}

TEST_CASE("page reuse: pages are found again under their rule, and under nz_ratio by the prompt's length") {
  CHECK(after(kDense).key() == PrefixKey{kDense, 0});
  CHECK(after(kLowThreshold).key() == PrefixKey{kLowThreshold, 0});
  CHECK(after(kLowNzRatio).key() == PrefixKey{kLowNzRatio, 7});
  CHECK(after(kLowNzRatioRow).key() == PrefixKey{kLowNzRatioRow, 0});
  CHECK_FALSE(after(kLowNzRatio).key() == after(kLowNzRatio, true, 113).key());
  CHECK(after(kLowNzRatioRow).key() == after(kLowNzRatioRow, true, 1000).key());
}

TEST_CASE("page reuse: a dense prefill takes what was decoded along, a sparse one ends with its prompt") {
  CHECK(after(kDense).prefill_end(150, 0) == 150);
  CHECK_FALSE(after(kDense).in_sparse_prompt(0));
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatio, kLowNzRatioRow}) {
    INFO(rule.to_string());
    const PageReuse reuse = after(rule);
    CHECK(reuse.prefill_end(150, 0) == kPrompt);
    CHECK(reuse.in_sparse_prompt(99));
    CHECK_FALSE(reuse.in_sparse_prompt(100));
    // Computes token by token up to the page's end, and then densely.
    CHECK(reuse.prefill_end(150, 100) == 100);
    CHECK(reuse.prefill_end(150, 111) == 111);
    CHECK(reuse.prefill_end(150, 112) == 150);
    CHECK(reuse.prefill_end(113, 112) == 112);  // the newest token is decoded
  }
}

PageReuse after_sparse_decodes(const SparseRule& rule, bool last_block_dense = true,
                               int64_t n_tokens = kPrompt) {
  PageReuse reuse({kReusedPage, last_block_dense, false});
  reuse.begin({rule, /*sparse_decodes=*/true}, n_tokens, true);
  return reuse;
}

TEST_CASE("page reuse: of what gates for decoding chose blocks for nothing is kept, but the prompt is") {
  const int64_t computed = 150, longer = 170;
  CHECK(after_sparse_decodes(kDense).reusable(kDense, longer, computed) == kPrompt);
  // The prefill was cancelled after 48 tokens.
  CHECK(after_sparse_decodes(kDense).reusable(kDense, longer, 48) == 48);
  CHECK(after_sparse_decodes(kDense).reusable(kDense, 70, 64) == 64);
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatioRow, kLowNzRatio})
    for (const bool last_block_dense : {true, false}) {
      INFO(rule.to_string());
      // Decoded tokens are never kept after a sparse prompt, so the rule for decoding changes nothing.
      CHECK(after_sparse_decodes(rule, last_block_dense).reusable(rule, longer, computed) ==
            after(rule, last_block_dense).reusable(rule, longer, computed));
    }
}

TEST_CASE("page reuse: pages that hold a token for which gates chose blocks are not shared") {
  CHECK(after_sparse_decodes(kDense).n_shareable_pages(150) == 6);  // the seventh has 12 decoded tokens
  CHECK(after_sparse_decodes(kDense).n_shareable_pages(kPrompt) == 6);
  CHECK(after_sparse_decodes(kDense).n_shareable_pages(50) == 3);
  CHECK(after_sparse_decodes(kDense, true, 96).n_shareable_pages(150) == 6);
  CHECK(after_sparse_decodes(kDense, true, 95).n_shareable_pages(150) == 5);
  CHECK(after_sparse_decodes(kDense, true, 1).n_shareable_pages(150) == 0);
  for (const SparseRule& rule : {kLowThreshold, kLowNzRatioRow, kLowNzRatio})
    CHECK(after_sparse_decodes(rule).n_shareable_pages(150) == after(rule).n_shareable_pages(150));
  // Shared pages hold a dense prompt, whatever the rule is by which tokens are decoded after it.
  CHECK(after_sparse_decodes(kDense).key() == after(kDense).key());
}

TEST_CASE("page reuse: tokens for which gates chose blocks are computed again one by one") {
  for (const SparseRule& rule : {kDense, kLowThreshold, kLowNzRatio, kLowNzRatioRow}) {
    INFO(rule.to_string());
    const PageReuse reuse = after_sparse_decodes(rule);
    CHECK(reuse.prefill_end(150, 0) == kPrompt);
    for (const int64_t computed : {100, 111, 112, 149}) CHECK(reuse.prefill_end(150, computed) == computed);
  }
}

TEST_CASE("page reuse: positions that depend on the length let nothing be kept, shared or prefilled again") {
  PageReuse reuse({kReusedPage, true, true});
  reuse.begin(kDense, kPrompt, true);
  CHECK(reuse.reusable(kDense, 150, 100) == 0);
  CHECK(reuse.n_shareable_pages(150) == 0);
  CHECK(reuse.prefill_end(150, 0) == kPrompt);
  CHECK(reuse.prefill_end(150, 112) == 112);
}

TEST_CASE("page reuse: the rule that a prompt follows counts its blocks, and is none once it is cleared") {
  PageReuse reuse = after(kLowNzRatioRow);
  REQUIRE(reuse.select().has_value());
  CHECK((reuse.select()->method == SelectRule::Method::kNzRatioRow));
  CHECK(reuse.select()->value == 0.1);
  CHECK(reuse.select()->n_prompt_blocks == 7);
  CHECK(reuse.select()->last_block_dense);
  CHECK_FALSE(after(kDense).select().has_value());
  reuse.clear();
  CHECK_FALSE(reuse.select().has_value());
  CHECK(reuse.prompt_tokens() == 0);
  CHECK_FALSE(reuse.in_sparse_prompt(0));
}

}  // namespace
}  // namespace seer
