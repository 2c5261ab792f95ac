// Which pages of an earlier turn a longer prompt may keep: those a one-shot prefill would fill with the same
// values.
#include "engine/src/sequence.h"

#include <vector>

#include "engine/src/page_allocator.h"
#include "seer/error.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

constexpr int64_t kPage = 64;
const SparseRule kDense;
const SparseRule kThreshold = SparseRule::parse("threshold=0.01");
const SparseRule kNzRatio = SparseRule::parse("nz_ratio=0.1");

std::vector<int32_t> ids(int64_t n) { return std::vector<int32_t>(static_cast<size_t>(n), 3); }

// A turn: a prompt, prefilled at once, then n_decoded tokens.
int64_t turn(Sequence& s, const SparseRule& rule, bool last_block_dense, int64_t n_prompt,
             int64_t n_decoded) {
  s.append(ids(n_prompt));
  const int64_t kept = s.begin_prefill(rule, last_block_dense, false);
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
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  CHECK(turn(s, kThreshold, true, 1000, 0) == 0);
}

TEST_CASE("a dense second turn keeps every whole page, decoded ones too") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kDense, true, 100, 100);
  CHECK(turn(s, kDense, true, 10, 0) == 192);
}

TEST_CASE("a threshold second turn drops decoded pages and the two dense block rows") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kThreshold, true, 1000, 300);  // 16 blocks, the last partial
  CHECK(turn(s, kThreshold, true, 10, 0) == 14 * kPage);
}

TEST_CASE(
    "a threshold turn shorter than the prefill that was cancelled before it drops its own two dense rows") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  s.append(ids(1000));
  s.begin_prefill(kThreshold, true, false);
  s.reserve(640);
  s.computed(640);
  s.drop_uncomputed();
  CHECK(turn(s, kThreshold, true, 22, 0) == 9 * kPage);  // 662 tokens, 11 blocks
}

TEST_CASE("without last_block_dense a threshold turn keeps every whole prefilled page") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kThreshold, false, 1000, 300);
  CHECK(turn(s, kThreshold, false, 10, 0) == 15 * kPage);
}

TEST_CASE("an nz_ratio turn keeps nothing, for its counts depend on the prompt's length") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kNzRatio, true, 1000, 0);
  CHECK(turn(s, kNzRatio, true, 10, 0) == 0);
}

TEST_CASE("another rule keeps nothing") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kDense, true, 1000, 0);
  CHECK(turn(s, kThreshold, true, 10, 0) == 0);
}

TEST_CASE("a turn without new tokens computes the last page again for its logits") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kDense, true, 128, 0);
  CHECK(turn(s, kDense, true, 0, 0) == 64);
}

TEST_CASE("positions that depend on the length keep nothing") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  turn(s, kDense, true, 1000, 0);
  CHECK(s.begin_prefill(kDense, true, true) == 0);
}

TEST_CASE("dropping uncomputed tokens frees the pages behind them") {
  PageAllocator pages(100);
  Sequence s(&pages, kPage);
  s.append(ids(640));
  s.begin_prefill(kDense, true, false);
  s.reserve(640);
  CHECK(pages.n_free() == 90);
  s.computed(128);
  s.drop_uncomputed();
  CHECK(s.n_tokens() == 128);
  CHECK(pages.n_free() == 98);
  s.clear();
  CHECK(pages.n_free() == 100);
}

TEST_CASE("the destructor frees the pages") {
  PageAllocator pages(4);
  {
    Sequence s(&pages, kPage);
    turn(s, kDense, true, 200, 0);
    CHECK(pages.n_free() == 0);
  }
  CHECK(pages.n_free() == 4);
}

TEST_CASE("an exhausted pool is a memory error that says the number of pages") {
  PageAllocator pages(3);
  Sequence s(&pages, kPage);
  s.append(ids(200));
  try {
    s.reserve(200);
    FAIL("four pages came out of three");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kMemory);
    CHECK_THAT(e.what(), ContainsSubstring("all 3 pages"));
  }
}

TEST_CASE("a page lives until its last reference is released") {
  PageAllocator pages(2);
  const int32_t page = pages.allocate();
  pages.add_reference(page);
  pages.release(page);
  CHECK(pages.n_free() == 1);
  pages.release(page);
  CHECK(pages.n_free() == 2);
}

TEST_CASE("low page ids are handed out first") {
  PageAllocator pages(3);
  CHECK(pages.allocate() == 0);
  CHECK(pages.allocate() == 1);
}

}  // namespace
}  // namespace seer
