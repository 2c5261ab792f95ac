// Pages shared by content: which are found again, which are not, and which are evicted first.
#include "engine/src/prefix_cache.h"

#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kCachedPage = 4;
constexpr int32_t kRoot = PrefixCache::kRoot, kNone = PrefixCache::kNone;
const PrefixKey kDenseKey;

Ids page_of(int32_t id) { return {id, id, id, id}; }

int32_t add(PrefixCache& cache, int32_t parent, int32_t id, const PrefixKey& key = kDenseKey) {
  const int32_t page = cache.allocate();
  REQUIRE(page != kNone);
  return cache.add(parent, key, page_of(id), page);
}

TEST_CASE("a cached page is found after its own parent, under its own rule, and nowhere else") {
  PrefixCache cache(8, kCachedPage, true);
  const int32_t first = add(cache, kRoot, 1), second = add(cache, first, 2);
  CHECK(cache.find(kRoot, kDenseKey, page_of(1)) == first);
  CHECK(cache.find(first, kDenseKey, page_of(2)) == second);
  CHECK(cache.find(kRoot, kDenseKey, page_of(2)) == kNone);
  CHECK(cache.find(second, kDenseKey, page_of(2)) == kNone);
  CHECK(cache.find(first, kDenseKey, Ids{2, 2, 2, 3}) == kNone);
  CHECK(cache.find(kRoot, {kThreshold, 0}, page_of(1)) == kNone);
  CHECK(cache.find(kRoot, {kNzRatio, 2}, page_of(1)) == kNone);
  const int32_t ratio = add(cache, kRoot, 1, {kNzRatio, 2});
  CHECK(ratio != first);
  CHECK(cache.find(kRoot, {kNzRatio, 2}, page_of(1)) == ratio);
  CHECK(cache.find(kRoot, {kNzRatio, 3}, page_of(1)) == kNone);
}

TEST_CASE("equal hashes of unequal pages do not make them equal") {
  PrefixCache cache(8, kCachedPage, true, [](uint64_t, std::span<const int32_t>) { return uint64_t{7}; });
  const int32_t a = add(cache, kRoot, 1), b = add(cache, kRoot, 2), under_a = add(cache, a, 3);
  CHECK(cache.find(kRoot, kDenseKey, page_of(1)) == a);
  CHECK(cache.find(kRoot, kDenseKey, page_of(2)) == b);
  CHECK(cache.find(a, kDenseKey, page_of(3)) == under_a);
  CHECK(cache.find(b, kDenseKey, page_of(3)) == kNone);
  CHECK(cache.find(kRoot, kDenseKey, page_of(3)) == kNone);
  CHECK(cache.find(kRoot, {kThreshold, 0}, page_of(1)) == kNone);
}

TEST_CASE("a page that is computed twice is kept once") {
  PrefixCache cache(4, kCachedPage, true);
  const int32_t first = add(cache, kRoot, 1);
  CHECK(add(cache, kRoot, 1) == first);
  CHECK(cache.n_available() == 3);
  cache.release(first);
  CHECK(cache.n_cached() == 0);  // the other reference still exists
  cache.release(first);
  CHECK(cache.n_cached() == 1);
  CHECK(cache.n_available() == 4);
}

TEST_CASE("a page is evicted of the owner that is short, its children of others before it") {
  PrefixCache cache(4, kCachedPage, true, nullptr,
                    {2, 1});  // blocks 0 and 3 are owner 0's, 1 and 2 owner 1's
  const auto add_block = [&](int64_t block, int32_t parent, int32_t id) {
    const int32_t page = cache.allocate(block);
    REQUIRE(page != kNone);
    return cache.add(parent, kDenseKey, page_of(id), page);
  };
  const int32_t root = add_block(0, kRoot, 1), under = add_block(1, root, 2), last = add_block(2, under, 3);
  CHECK(cache.n_available(0) == 1);
  CHECK(cache.n_available(1) == 0);
  CHECK(cache.allocate(1) == kNone);
  CHECK(cache.allocate(0) == 1);  // owner 0's other page
  CHECK(cache.allocate(0) == kNone);
  for (const int32_t page : {last, under, root}) cache.release(page);
  CHECK(cache.n_available(0) == 1);
  CHECK(cache.n_available(1) == 2);
  CHECK(cache.allocate(0) == root);  // both pages below it are gone
  CHECK(cache.n_cached() == 0);
  CHECK(cache.n_available(1) == 2);
  CHECK(cache.n_used() == 2);
}

TEST_CASE("among equal leaves the longest unused one is evicted first, a parent after its children") {
  PrefixCache cache(4, kCachedPage, true, nullptr, {}, {}, EvictionRule::least_recently_used());
  const int32_t root = add(cache, kRoot, 1), left = add(cache, root, 2), right = add(cache, root, 3);
  const int32_t other = add(cache, kRoot, 4);
  CHECK(cache.allocate() == kNone);                         // all are in use
  CHECK(cache.find(kRoot, kDenseKey, page_of(1)) == root);  // the sequence of `right` is another's
  cache.release(left);
  cache.release(root);
  cache.release(other);
  cache.release(right);
  // `left` released root before `right` did, yet root is evicted last of its tree.
  CHECK(cache.n_cached() == 3);  // root is still held by right's sequence
  cache.release(root);
  CHECK(cache.n_cached() == 4);
  CHECK(cache.allocate() == left);
  CHECK(cache.find(root, kDenseKey, page_of(2)) == kNone);
  CHECK(cache.allocate() == other);
  CHECK(cache.allocate() == right);
  CHECK(cache.allocate() == root);
  CHECK(cache.allocate() == kNone);
}

TEST_CASE("a page that is found again is in use, and young when it is let go") {
  PrefixCache cache(2, kCachedPage, true);
  const int32_t a = add(cache, kRoot, 1), b = add(cache, kRoot, 2);
  cache.release(a);
  cache.release(b);
  CHECK(cache.find(kRoot, kDenseKey, page_of(1)) == a);
  CHECK(cache.n_cached() == 1);
  CHECK(cache.allocate() == b);
  CHECK(cache.allocate() == kNone);
  cache.release(b);
  cache.release(a);
  CHECK(cache.allocate() == b);  // it was evicted, so it is free
  CHECK(cache.allocate() == a);
}

TEST_CASE("a cache that keeps nothing is an allocator") {
  PrefixCache cache(2, kCachedPage, false);
  const int32_t page = add(cache, kRoot, 1);
  CHECK(cache.find(kRoot, kDenseKey, page_of(1)) == kNone);
  CHECK_FALSE(cache.holds(page));
  cache.release(page);
  CHECK(cache.n_cached() == 0);
  CHECK(cache.n_available() == 2);
}

// ---- through the scheduler ----

FakeOptions cached(bool last_block_dense = true) {
  FakeOptions options;  // pages of 16
  options.prefix_cache = true;
  options.last_block_dense = last_block_dense;
  return options;
}

// Runs `request` and returns how many of its tokens came from the cache.
int64_t n_cached(FakeEngine& engine, const GenerateRequest& request) {
  const GenerateResult result = engine.submit(request)->wait();
  CHECK(result.tokens == engine.expected(request));
  CHECK(result.stats.n_cached + result.stats.n_prompt == static_cast<int64_t>(request.prompt.size()));
  return result.stats.n_cached;
}

Ids first(const Ids& ids, int64_t n) { return {ids.begin(), ids.begin() + n}; }

TEST_CASE("whole pages of a prompt serve the next one that begins alike") {
  FakeEngine engine(cached());
  const Ids text = fake_ids(200, 1);
  CHECK(n_cached(engine, fake_request(first(text, 100), 5)) == 0);
  CHECK(n_cached(engine, fake_request(text, 5)) == 96);  // six pages; the seventh was open
  CHECK(n_cached(engine, fake_request(first(text, 100), 5)) == 96);
  // The last token is computed again, because its logits are wanted.
  CHECK(n_cached(engine, fake_request(first(text, 96), 5)) == 80);
  CHECK(n_cached(engine, fake_request(first(text, 97), 5)) == 96);
  CHECK(n_cached(engine, fake_request(first(text, 16), 5)) == 0);
  CHECK(n_cached(engine, fake_request(first(text, 15), 5)) == 0);
  Ids other = text;
  other[40] += 1;
  CHECK(n_cached(engine, fake_request(other, 5)) == 32);
  other = text;
  other[0] += 1;
  CHECK(n_cached(engine, fake_request(other, 5)) == 0);
  const EngineStats stats = engine.stats();
  CHECK(stats.cached_tokens == 96 + 96 + 80 + 96 + 32);
  CHECK(stats.pages_used == 0);
  CHECK(stats.pages_cached > 12);
}

TEST_CASE("pages that were decoded are shared under the dense rule alone") {
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow}) {
    INFO(rule.to_string());
    FakeEngine engine(cached(false));
    const GenerateRequest request = fake_request(fake_ids(100, 1), 100, rule);
    Ids all = request.prompt;
    for (const int32_t id : engine.submit(request)->wait().tokens) all.push_back(id);
    const bool dense = rule == kDense;
    CHECK(n_cached(engine, fake_request(all, 3, rule)) == (dense ? 192 : rule == kNzRatio ? 0 : 96));
  }
}

TEST_CASE("pages that were decoded under a rule for decoding are not shared, and those of the prompt are") {
  for (const SparseDecodeRule& rule : {kDecodeBudget, kDecodeThreshold, kDecodeRatio}) {
    INFO(rule.to_string());
    FakeEngine engine(cached(false));
    GenerateRequest request = fake_request(fake_ids(100, 1), 100);
    request.sparse_decode = rule;
    Ids all = request.prompt;
    for (const int32_t id : engine.submit(request)->wait().tokens) all.push_back(id);
    GenerateRequest next = fake_request(all, 40);
    for (const SparseDecodeRule& next_rule : {rule, kDenseDecode}) {
      next.sparse_decode = next_rule;
      // The first `next` leaves `all` in the cache.
      CHECK(n_cached(engine, next) == (next_rule == rule ? 96 : 192));
    }
  }
}

TEST_CASE("a rule for decoding takes the pages that were decoded under the dense rule") {
  FakeEngine engine(cached());
  const GenerateRequest request = fake_request(fake_ids(100, 1), 100);
  Ids all = request.prompt;
  for (const int32_t id : engine.submit(request)->wait().tokens) all.push_back(id);
  GenerateRequest next = fake_request(all, 40);
  next.sparse_decode = kDecodeBudget;
  CHECK(n_cached(engine, next) == 192);
}

TEST_CASE("rules do not share pages") {
  FakeEngine engine(cached(false));
  const Ids text = fake_ids(100, 1);
  CHECK(n_cached(engine, fake_request(text, 3, kDense)) == 0);
  CHECK(n_cached(engine, fake_request(text, 3, kThreshold)) == 0);
  CHECK(n_cached(engine, fake_request(text, 3, SparseRule::parse("threshold=0.2"))) == 0);
  CHECK(n_cached(engine, fake_request(text, 3, kNzRatio)) == 0);
  CHECK(n_cached(engine, fake_request(text, 3, kNzRatioRow)) == 0);
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow})
    CHECK(n_cached(engine, fake_request(text, 3, rule)) == 96);
}

TEST_CASE("under last_block_dense the last two block rows of a prompt are neither shared nor taken") {
  FakeEngine engine(cached(true));
  const Ids text = fake_ids(200, 1);
  for (const SparseRule& rule : {kThreshold, kNzRatioRow}) {
    INFO(rule.to_string());
    CHECK(n_cached(engine, fake_request(first(text, 160), 3, rule)) == 0);  // 10 blocks, 8 of them sparse
    CHECK(n_cached(engine, fake_request(first(text, 160), 3, rule)) == 128);
    CHECK(n_cached(engine, fake_request(text, 3, rule)) == 128);
    // 5 blocks, of which the last two are dense here and were sparse there.
    CHECK(n_cached(engine, fake_request(first(text, 80), 3, rule)) == 48);
    CHECK(n_cached(engine, fake_request(first(text, 32), 3, rule)) == 0);
  }
}

TEST_CASE("under nz_ratio only prompts of as many blocks share pages") {
  FakeEngine engine(cached(false));
  const Ids text = fake_ids(200, 1);
  CHECK(n_cached(engine, fake_request(first(text, 150), 3, kNzRatio)) == 0);
  CHECK(n_cached(engine, fake_request(first(text, 155), 3, kNzRatio)) == 144);  // 10 blocks too
  CHECK(n_cached(engine, fake_request(first(text, 161), 3, kNzRatio)) == 0);
  CHECK(n_cached(engine, fake_request(first(text, 144), 3, kNzRatio)) == 0);
}

TEST_CASE("under nz_ratio_row prompts of any length share what they have in common") {
  FakeEngine engine(cached(false));
  const Ids text = fake_ids(200, 1);
  CHECK(n_cached(engine, fake_request(first(text, 100), 3, kNzRatioRow)) == 0);
  CHECK(n_cached(engine, fake_request(text, 3, kNzRatioRow)) == 96);
  CHECK(n_cached(engine, fake_request(first(text, 150), 3, kNzRatioRow)) == 144);
}

TEST_CASE("positions that depend on the length share nothing") {
  FakeOptions options = cached();
  options.positions_depend_on_length = true;
  FakeEngine engine(options);
  const GenerateRequest request = fake_request(fake_ids(100, 1), 3);
  CHECK(n_cached(engine, request) == 0);
  CHECK(n_cached(engine, request) == 0);
  CHECK(engine.stats().pages_cached == 0);
}

TEST_CASE("without the cache nothing is kept") {
  FakeEngine engine;
  const GenerateRequest request = fake_request(fake_ids(100, 1), 3);
  CHECK(n_cached(engine, request) == 0);
  CHECK(n_cached(engine, request) == 0);
  CHECK(engine.stats().pages_cached == 0);
}

TEST_CASE("cached pages make room before anyone is pre-empted, most of them the oldest prompt's") {
  FakeOptions options = cached();
  options.n_pages = 20;
  FakeEngine engine(options);
  const Ids a = fake_ids(128, 1), b = fake_ids(128, 2), c = fake_ids(128, 3);
  n_cached(engine, fake_request(a, 3));
  n_cached(engine, fake_request(b, 3));
  CHECK(engine.stats().pages_cached == 16);
  CHECK(n_cached(engine, fake_request(c, 3)) == 0);
  CHECK(n_cached(engine, fake_request(b, 3)) >= 96);
  CHECK(n_cached(engine, fake_request(a, 3)) <= 80);
  CHECK(engine.stats().n_preempted == 0);
}

TEST_CASE("requests that run at the same time share the pages of what they have in common") {
  FakeEngine engine(cached());
  engine.runner.hold();
  const Ids common = fake_ids(400, 1);
  std::vector<GenerateRequest> requests;
  std::vector<std::unique_ptr<Generation>> running;
  for (uint64_t i = 0; i < 8; ++i) {
    Ids prompt = common;
    for (const int32_t id : fake_ids(30, 10 + i)) prompt.push_back(id);
    requests.push_back(fake_request(prompt, 40, i % 2 == 0 ? kDense : kThreshold));
    running.push_back(engine.submit(requests.back()));
  }
  int64_t most = 0;
  engine.runner.before_step = [&](int64_t) { most = std::max(most, engine.stats().pages_used); };
  engine.runner.release();
  for (size_t i = 0; i < requests.size(); ++i)
    CHECK(running[i]->wait().tokens == engine.expected(requests[i]));
  // This is the rules' common pages and those of each rule, not eight times all pages.
  CHECK(most < 8 * 30);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("a pinned page is not evicted, and its turn to be evicted stays the same") {
  PrefixCache cache(3, kCachedPage, true);
  const int32_t a = add(cache, kRoot, 1), b = add(cache, kRoot, 2), c = add(cache, kRoot, 3);
  for (const int32_t page : {a, b, c}) cache.release(page);
  const uint64_t serial = cache.serial(a);
  cache.pin(a);
  CHECK(cache.n_cached() == 2);
  CHECK(cache.allocate() == b);
  cache.unpin(a);
  CHECK(cache.n_cached() == 2);
  CHECK(cache.serial(a) == serial);
  CHECK(cache.allocate() == a);  // before c, which was let go later
  CHECK_FALSE(cache.holds(a));
  cache.add(kRoot, kDenseKey, page_of(4), a);
  CHECK(cache.serial(a) != serial);
}

TEST_CASE("a page that its sequence lets go of while it is pinned is evicted as if it were let go of then") {
  PrefixCache cache(2, kCachedPage, true);
  const int32_t a = add(cache, kRoot, 1), b = add(cache, kRoot, 2);
  cache.release(a);
  cache.pin(b);
  cache.release(b);
  CHECK(cache.n_cached() == 1);
  cache.unpin(b);
  CHECK(cache.n_cached() == 2);
  CHECK(cache.allocate() == a);
  CHECK(cache.allocate() == b);
}

TEST_CASE("while a page is pinned, its ancestors are not evicted, and allocate() returns no page") {
  PrefixCache cache(2, kCachedPage, true);
  const int32_t parent = add(cache, kRoot, 1), child = add(cache, parent, 2);
  cache.release(child);
  cache.release(parent);
  cache.pin(child);
  CHECK(cache.n_available() == 1);
  CHECK(cache.allocate() == kNone);
  cache.unpin(child);
  CHECK(cache.allocate() == child);
  CHECK(cache.allocate() == parent);
}

TEST_CASE("a page that is not cached can be pinned, outlives its owner, and is free afterwards") {
  PrefixCache cache(1, kCachedPage, true);
  const int32_t page = cache.allocate();
  cache.pin(page);
  cache.release(page);
  CHECK(cache.allocate() == kNone);
  cache.unpin(page);
  CHECK(cache.n_free() == 1);
}

TEST_CASE("the next pages to be evicted are told, fresh and kept ones, each in the order in which they go") {
  PrefixCache cache(6, kCachedPage, true);
  const int32_t a = add(cache, kRoot, 1), b = add(cache, a, 2), c = add(cache, b, 3);
  const int32_t other = add(cache, kRoot, 4), left = add(cache, other, 5), right = add(cache, other, 6);
  for (const int32_t page : {c, b, a, left, right, other}) cache.release(page);
  // The first document is kept, as the next eviction would decide. It is more than its share, so it goes
  // first, and the other one is fresh.
  CHECK(cache.next_evicted(2) == std::vector<int32_t>{c, b, left, right});
  // A parent of two leaves is told when one of them has gone.
  CHECK(cache.next_evicted(6) == std::vector<int32_t>{c, b, a, left, right});
  cache.pin(left);
  CHECK(cache.next_evicted(6) == std::vector<int32_t>{c, b, a, right});
  cache.unpin(left);
  for (const int32_t page : {c, left, b, right, a, other}) {
    const std::vector<int32_t> told = cache.next_evicted(1);
    CHECK(std::find(told.begin(), told.end(), page) != told.end());
    CHECK(cache.allocate() == page);
  }
}

TEST_CASE("also in the order of worth, the first page that next_evicted() names is evicted next") {
  PrefixCache cache(12, kCachedPage, true);
  std::vector<int32_t> all;
  for (int32_t document = 0; document < 4; ++document) {
    int32_t parent = kRoot;
    for (int32_t i = 0; i < 3; ++i) all.push_back(parent = add(cache, parent, 10 * document + i));
  }
  CHECK(cache.find(kRoot, kDenseKey, page_of(10)) == all[3]);  // used twice
  cache.release(all[3]);
  for (size_t i = all.size(); i-- > 0;) cache.release(all[i]);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<int32_t> told = cache.next_evicted(3);
    REQUIRE(!told.empty());
    CHECK(cache.allocate() == told.front());
  }
}

}  // namespace
}  // namespace seer
