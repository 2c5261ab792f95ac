// The pages of an earlier turn that a longer prompt may keep: those that a one-shot prefill would fill with
// the same values.
#include "engine/src/sequence.h"

#include <vector>

#include "engine/src/prefix_cache.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kSequencePage = 64;

PrefillTraits traits(bool last_block_dense = true, bool positions_depend_on_length = false) {
  return {kSequencePage, last_block_dense, positions_depend_on_length};
}

PrefixCache pool(int64_t n_pages) { return PrefixCache(n_pages, kSequencePage, /*keep=*/false); }

std::vector<int32_t> ids(int64_t n) { return std::vector<int32_t>(static_cast<size_t>(n), 3); }

// A turn: a prompt, prefilled at once, then n_decoded tokens.
int64_t turn(Sequence& s, const SequenceRules& rule, int64_t n_prompt, int64_t n_decoded) {
  s.append(ids(n_prompt));
  const int64_t kept = s.begin_prefill(rule, true);
  s.reserve(s.n_tokens());
  s.computed(s.n_tokens() - kept);
  for (int64_t i = 0; i < n_decoded; ++i) {
    s.append(5);
    s.reserve(s.n_tokens());
    s.computed(1);
  }
  return kept;
}

TEST_CASE("a first turn keeps nothing") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  CHECK(turn(s, kLowThreshold, 1000, 0) == 0);
}

TEST_CASE("a dense second turn keeps every whole page, decoded ones too") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kDense, 100, 100);
  CHECK(turn(s, kDense, 10, 0) == 192);
}

TEST_CASE(
    "a second turn drops what gates for decoding chose blocks for, and keeps the prompt's whole pages") {
  PrefixCache pages = pool(100);
  const SequenceRules sparse_decodes{kDense, true};
  Sequence s(&pages, traits());
  turn(s, sparse_decodes, 100, 100);
  CHECK(turn(s, sparse_decodes, 10, 0) == 64);
  // All 210 tokens are the prompt of that turn, and what is decoded after it is dense.
  CHECK(turn(s, kDense, 0, 110) == 192);
  CHECK(turn(s, sparse_decodes, 10, 0) == 320);
}

TEST_CASE("pages given up are computed again as they were: the prompt at once, decoded tokens by the rule") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, {kDense, true}, 100, 100);
  s.give_up_pages();
  CHECK(s.resume() == 0);
  CHECK(s.prefill_end() == 100);
  s.reserve(200);
  s.computed(100);
  CHECK_FALSE(s.prefilling());
  s.computed(28);
  CHECK_FALSE(s.prefilling());  // although a page begins here
}

TEST_CASE("a threshold second turn drops decoded pages and the two dense block rows") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kLowThreshold, 1000, 300);  // 16 blocks, the last partial
  CHECK(turn(s, kLowThreshold, 10, 0) == 14 * kSequencePage);
}

TEST_CASE(
    "a threshold turn shorter than the prefill that was cancelled before it drops its own two dense rows") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  s.append(ids(1000));
  s.begin_prefill(kLowThreshold, true);
  s.reserve(640);
  s.computed(640);
  s.drop_uncomputed();
  CHECK(turn(s, kLowThreshold, 22, 0) == 9 * kSequencePage);  // 662 tokens, 11 blocks
}

TEST_CASE("without last_block_dense a threshold turn keeps every whole prefilled page") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits(false));
  turn(s, kLowThreshold, 1000, 300);
  CHECK(turn(s, kLowThreshold, 10, 0) == 15 * kSequencePage);
}

TEST_CASE("an nz_ratio turn keeps nothing, for its counts depend on the prompt's length") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kLowNzRatio, 1000, 0);
  CHECK(turn(s, kLowNzRatio, 10, 0) == 0);
}

TEST_CASE("an nz_ratio_row turn drops decoded pages and the two dense block rows, as under a threshold") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kLowNzRatioRow, 1000, 300);
  CHECK(turn(s, kLowNzRatioRow, 10, 0) == 14 * kSequencePage);
}

TEST_CASE("another rule keeps nothing") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kDense, 1000, 0);
  CHECK(turn(s, kLowThreshold, 10, 0) == 0);
}

TEST_CASE("a turn without new tokens computes the last page again for its logits") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  turn(s, kDense, 128, 0);
  CHECK(turn(s, kDense, 0, 0) == 64);
}

TEST_CASE("positions that depend on the length keep nothing") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits(true, true));
  turn(s, kDense, 1000, 0);
  CHECK(s.begin_prefill(kDense, true) == 0);
}

TEST_CASE("expected pages are cached when more is computed, and can be given up before that") {
  PrefixCache pages(100, kSequencePage, /*keep=*/true);
  Sequence s(&pages, traits());
  s.append(ids(300));
  REQUIRE(s.begin_prefill(kDense, true) == 0);
  s.reserve(192);
  s.expect(192);
  CHECK(s.n_computed() == 192);
  CHECK(s.n_shared() == 0);
  const auto found_by_another = [&] {
    Sequence other(&pages, traits());
    other.append(ids(300));
    return other.begin_prefill(kDense, true);
  };
  CHECK(found_by_another() == 0);
  s.give_up_expected();
  CHECK(s.n_computed() == 0);
  CHECK(pages.n_used() == 0);

  s.reserve(300);
  s.computed(64);
  s.expect(128);
  CHECK(found_by_another() == 64);
  s.computed(108);
  CHECK(s.n_computed() == 300);
  CHECK(found_by_another() == 256);
  s.give_up_expected();  // nothing is expected any more, but the last page is not full and thus not cached
  CHECK(s.n_computed() == 256);
}

TEST_CASE("dropping uncomputed tokens frees the pages after them") {
  PrefixCache pages = pool(100);
  Sequence s(&pages, traits());
  s.append(ids(640));
  s.begin_prefill(kDense, true);
  s.reserve(640);
  CHECK(pages.n_available() == 90);
  s.computed(128);
  s.drop_uncomputed();
  CHECK(s.n_tokens() == 128);
  CHECK(pages.n_available() == 98);
  s.clear();
  CHECK(pages.n_available() == 100);
}

TEST_CASE("the destructor frees the pages") {
  PrefixCache pages = pool(4);
  {
    Sequence s(&pages, traits());
    turn(s, kDense, 200, 0);
    CHECK(pages.n_available() == 0);
  }
  CHECK(pages.n_available() == 4);
}

TEST_CASE("an exhausted pool reserves what there is, and the rest when there is more") {
  PrefixCache pages = pool(3);
  Sequence s(&pages, traits());
  const int32_t other = pages.allocate();
  s.append(ids(129));
  CHECK_FALSE(s.reserve(129));
  CHECK(s.n_pages() == 2);
  CHECK(pages.allocate() == PrefixCache::kNone);
  pages.release(other);
  CHECK(s.reserve(129));
  CHECK(s.n_pages() == 3);
}

}  // namespace
}  // namespace seer
