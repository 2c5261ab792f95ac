// Which page the prefix cache gives up first, by age, by uses and by what it would cost to compute again.
#include "engine/src/eviction_order.h"

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

#include "engine/src/page_cost.h"
#include "engine/src/prefix_cache.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kTokens = 1;  // an id stands for a whole page
constexpr int64_t kDocument = 20, kPool = 12 * kDocument;
const PageCost kGrowing{0.5 * kDocument};  // a document's last page costs three times as much as its first

// Serves prompts one after another, as Sequence does.
class Pool {
 public:
  explicit Pool(const EvictionRule& rule, const PageCost& cost = kGrowing)
      : cache_(kPool, kTokens, true, nullptr, {}, cost, rule) {}

  // Returns how many pages were found.
  int64_t ask(const Ids& prompt, const SparseRule& rule = {}) {
    Ids table;
    const auto parent = [&] { return table.empty() ? PrefixCache::kRoot : table.back(); };
    int64_t n_found = 0;
    for (const int32_t& id : prompt) {
      int32_t page = cache_.find(parent(), {rule, 0}, {&id, 1});
      if (page != PrefixCache::kNone)
        ++n_found;
      else
        page = cache_.add(parent(), {rule, 0}, {&id, 1}, cache_.allocate());
      table.push_back(page);
    }
    for (size_t i = table.size(); i-- > 0;) cache_.release(table[i]);
    CHECK(cache_.n_used() == 0);
    return n_found;
  }
  Ids document() {
    Ids ids(kDocument);
    for (int32_t& id : ids) id = next_++;
    return ids;
  }

 private:
  PrefixCache cache_;
  int32_t next_ = 0;
};

// Returns how many pages of the documents are found when each is asked about in turn.
int64_t found_in_turn(const EvictionRule& rule) {
  Pool pool(rule);
  std::vector<Ids> documents(20);
  for (Ids& document : documents) document = pool.document();
  int64_t n_found = 0;
  for (int round = 0; round < 10; ++round)
    for (const Ids& document : documents) n_found += pool.ask(document);
  return n_found;
}

TEST_CASE("of documents asked about in turn, more than the pool holds, some are found each time") {
  CHECK(found_in_turn(EvictionRule::least_recently_used()) == 0);
  CHECK(found_in_turn({}) > 9 * 3 * kDocument);  // most of a third of the pool, in each round but the first
}

// Asks about a document `n_uses` times, and then about `n_others` others once each. Returns how many pages of
// the first document are found after that.
int64_t found_after_scan(int n_uses, int n_others, const EvictionRule& rule = {}) {
  Pool pool(rule);
  const Ids document = pool.document();
  for (int i = 0; i < n_uses; ++i) pool.ask(document);
  for (int i = 0; i < n_others; ++i) pool.ask(pool.document());
  return pool.ask(document);
}

TEST_CASE("a scan of new documents leaves what was reused before it") {
  CHECK(found_after_scan(3, 24, EvictionRule::least_recently_used()) == 0);
  CHECK(found_after_scan(3, 24) == kDocument);
}

TEST_CASE("what was used a thousand times does not stay for ever") {
  CHECK(found_after_scan(1000, 24) == kDocument);
  CHECK(found_after_scan(1000, 200) == 0);
  CHECK(found_after_scan(1000, 100) == found_after_scan(4, 100));
}

TEST_CASE("among pages let go of at once, those that cost least are evicted first") {
  EvictionOrder order(4, 1, {});
  const double costs[] = {3.0, 1.0, 4.0, 2.0};
  for (int32_t page = 0; page < 4; ++page) {
    order.begin(page, 0, costs[page]);
    order.let_go(page);
    order.add_leaf(page);
  }
  for (const int32_t page : {1, 3, 0, 2}) {
    CHECK(order.first(0) == page);
    order.evict(page);
  }
  CHECK(order.first(0) == EvictionOrder::kNone);
  CHECK(order.n_pages() == 0);
}

TEST_CASE("an expensive page that was released once is evicted before one that was released much later") {
  EvictionOrder order(10, 1, {});
  const auto let_go = [&](int32_t page, double cost) {
    order.begin(page, 0, cost);
    order.let_go(page);
    order.add_leaf(page);
  };
  let_go(0, 5.0);  // worth 0.4 turns, which are 4 evictions
  for (int i = 0; i < 3; ++i) {
    let_go(1, 1.0);
    order.evict(1);
  }
  let_go(1, 1.0);
  CHECK(order.first(0) == 1);
  for (int i = 0; i < 2; ++i) {
    let_go(2, 1.0);
    order.evict(2);
  }
  let_go(2, 1.0);
  CHECK(order.before(1, 0));
  CHECK(order.before(0, 2));
}

TEST_CASE("a kept page goes when the time of its rank has passed, and earlier only if too many are kept") {
  EvictionOrder order(12, 1, {});
  const auto let_go = [&](int32_t page, bool used) {
    order.begin(page, 0, 1.0);
    if (used) order.count_use(page);
    order.let_go(page);
    order.add_leaf(page);
  };
  let_go(0, true);
  for (int32_t page = 1; page < 6; ++page) let_go(page, false);
  CHECK(order.first(0) == 1);  // of six pages only page 0 is kept, and its rank is two turns away
  CHECK(order.should_keep(1));
  CHECK(order.keep(1));
  CHECK_FALSE(order.keep(1));
  CHECK(order.first(0) == 2);
  CHECK_FALSE(order.should_keep(2));  // a third of the pages is kept
  CHECK(order.keep(2));
  CHECK(order.first(0) == 1);  // too many are kept: of the two that were used least, the older one goes
  order.evict(1);
  int n_evicted = 1;
  for (; order.first(0) == 3 && n_evicted < 100; ++n_evicted) {
    order.evict(3);
    let_go(3, false);
    for (const int32_t page : {4, 5}) {  // they stay younger than page 3
      order.take(page);
      order.let_go(page);
      order.add_leaf(page);
    }
  }
  CHECK(order.first(0) == 2);
  CHECK(n_evicted == 13);  // a turn, which is as many evictions as the pool has pages, has passed
}

TEST_CASE("a page's cost grows with its position, less under a rule that attends to less") {
  const PageCost cost{1000.0};
  CHECK(cost.of_page({}, 0, 64) == 1.0);
  CHECK(cost.of_page({}, 125, 8) == 2.0);
  CHECK(cost.of_page(SparseRule::parse("nz_ratio=0.5"), 125, 8) == 1.5);
  CHECK(cost.of_page(SparseRule::parse("nz_ratio_row=0.25"), 125, 8) == 1.25);
  for (const char* rule : {"threshold=0.1", "head_threshold=0.1"})
    CHECK(cost.of_page(SparseRule::parse(rule), 125, 8) == 1.2);
  CHECK(PageCost{}.of_page({}, 1 << 20, 64) == 1.0);
}

TEST_CASE("the weights of a model say at which position attention costs as much as they") {
  ModelConfig config;  // like that of a model of 8B parameters
  config.n_heads = 32;
  config.n_kv_heads = 8;
  config.d_head = 128;
  config.d_model = 4096;
  config.d_ff = 14336;
  CHECK(page_cost(config).keys_per_token == 26624.0);
}

TEST_CASE("every page that is not in use can be had, whatever was shared and whoever owns it") {
  for (const int64_t n_owners : {1, 3}) {
    INFO(n_owners);
    constexpr int64_t kPages = 60;
    PrefixCache cache(kPages, kTokens, true, nullptr, {n_owners, 1}, {4.0});
    std::mt19937 random(1);
    std::deque<Ids> running;  // tables
    const auto end = [&](size_t i) {
      for (size_t k = running[i].size(); k-- > 0;) cache.release(running[i][k]);
      running.erase(running.begin() + static_cast<int64_t>(i));
    };
    for (int step = 0; step < 20000; ++step) {
      if (running.size() > 3 || (!running.empty() && random() % 3 == 0)) end(random() % running.size());
      // Prompts of up to 15 pages, of which each differs from others at some depth.
      const size_t length = 1 + random() % 15, common = random() % 16;
      Ids table;
      for (size_t i = 0; i < length; ++i) {
        const int32_t parent = table.empty() ? PrefixCache::kRoot : table.back();
        const int32_t id = static_cast<int32_t>(i < common ? i : 100 + random() % 50);
        int32_t page = cache.find(parent, {}, {&id, 1});
        if (page == PrefixCache::kNone) {
          const bool any = cache.n_available(cache.layout().owner(static_cast<int64_t>(i))) > 0;
          page = cache.allocate(static_cast<int64_t>(i));
          REQUIRE((page != PrefixCache::kNone) == any);
          if (!any) break;
          page = cache.add(parent, {}, {&id, 1}, page);
        }
        table.push_back(page);
      }
      std::vector<bool> in_use(kPages);
      running.push_back(table);
      for (const Ids& t : running)
        for (const int32_t page : t) in_use[static_cast<size_t>(page)] = true;
      REQUIRE(cache.n_used() == std::count(in_use.begin(), in_use.end(), true));
    }
    while (!running.empty()) end(0);
    for (int64_t block = 0; block < kPages; ++block)
      CHECK(cache.allocate(block % n_owners) != PrefixCache::kNone);
  }
}

}  // namespace
}  // namespace seer
