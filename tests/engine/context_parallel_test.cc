// Engines whose ranks divide prompts by their tokens give what one rank gives.
#include <algorithm>
#include <cmath>
#include <map>

#include "engine/src/page_layout.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"

namespace seer {
namespace {

using testing::demo_options;
using testing::document;
using testing::greedy;
using testing::Ids;
using testing::kDense;
using testing::kNzRatio;
using testing::kNzRatioRow;
using testing::kThreshold;
using testing::refusal;

constexpr double kLogitTolerance = 1e-4, kTie = 1e-5;

EngineOptions divided(int n_ranks, int64_t ctx_size, int64_t chunk_size) {
  EngineOptions options = demo_options(ctx_size, chunk_size);
  options.ranks = Ranks::start(n_ranks, {SEER_BINARY});
  options.rank_split = RankSplit::kContext;
  options.threads = 1;
  return options;
}

struct Evaluated {
  std::vector<float> logits;                                // of the last positions
  std::map<int64_t, std::vector<float>> scores;             // by layer: [n_rows, n_heads, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;            // likewise
  std::map<int64_t, std::pair<int64_t, int64_t>> n_blocks;  // by layer: blocks, heads
  RequestStats stats;
};

Evaluated evaluate(Session& session, const Ids& ids, const SparseRule& rule, int64_t n_logits) {
  Evaluated out;
  EvaluateRequest request;
  request.tokens = ids;
  request.sparse = rule;
  request.n_last_logits = n_logits;
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    out.logits.insert(out.logits.end(), logits, logits + n_rows * n_vocab);
    return true;
  };
  request.on_gate = [&](const GateRows& r) {
    out.n_blocks[r.layer] = {r.n_blocks, r.n_heads};
    for (int64_t row = 0; row < r.n_rows; ++row)
      for (int64_t h = 0; h < r.n_heads; ++h) {
        const int64_t at = (h * r.n_rows + row) * r.n_blocks;
        auto& scores = out.scores[r.layer];
        auto& masks = out.masks[r.layer];
        scores.insert(scores.end(), r.scores + at, r.scores + at + r.n_blocks);
        masks.insert(masks.end(), r.mask + at, r.mask + at + r.n_blocks);
      }
  };
  out.stats = session.evaluate(request);
  return out;
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
  return worst;
}

// Counts the blocks that differ between `a` and `b`, except those whose score is within kTie of the deciding
// score: the threshold, or the lowest that the row kept.
int64_t unlike(const Evaluated& a, const Evaluated& b, const SparseRule& rule) {
  int64_t n = 0;
  for (const auto& [layer, mask] : a.masks) {
    const std::vector<uint8_t>& other = b.masks.at(layer);
    const std::vector<float>& scores = a.scores.at(layer);
    if (other.size() != mask.size()) return -1;
    const int64_t width = a.n_blocks.at(layer).first;
    for (size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == other[i]) continue;
      double decides = rule.value;
      if (rule.method != SparseRule::Method::kThreshold) {
        const size_t row = i / static_cast<size_t>(width) * static_cast<size_t>(width);
        float least = INFINITY;
        for (size_t j = row; j < row + static_cast<size_t>(width); ++j)
          if (mask[j] != 0) least = std::min(least, scores[j]);
        decides = least;
      }
      if (std::abs(scores[i] - decides) > kTie) ++n;
    }
  }
  return n;
}

// Returns the document and then its beginning again, which is more than 16k tokens, with a partial last
// block.
Ids long_prompt(int64_t n) {
  const Ids text = document(14900);
  return testing::slice(testing::join(text, testing::slice(text, 1, 2000)), 0, n);
}

struct LongCase {
  SparseRule rule;
  Evaluated expected;
  Ids tokens;
};

// Runs a prompt of n tokens under each rule on one rank, and decodes after it.
LongCase run_long(Engine& engine, const Ids& ids, const SparseRule& rule) {
  const auto session = engine.new_session();
  LongCase out{rule, evaluate(*session, ids, rule, 100), {}};
  // Continues from what the session holds, except under nz_ratio, whose masks depend on the length.
  if (rule.method != SparseRule::Method::kNzRatio)
    out.tokens = session->generate(greedy({7}, 6, rule)).tokens;
  return out;
}

void check_long(Engine& engine, const Ids& ids, const LongCase& one) {
  INFO(engine.info().n_ranks << " ranks, " << one.rule.to_string() << ", " << ids.size() << " tokens");
  const LongCase found = run_long(engine, ids, one.rule);
  CHECK(difference(found.expected.logits, one.expected.logits) < kLogitTolerance);
  CHECK(found.expected.masks.size() == one.expected.masks.size());
  CHECK(unlike(one.expected, found.expected, one.rule) == 0);
  CHECK(found.tokens == one.tokens);
  const RequestStats &stats = found.expected.stats, &wanted = one.expected.stats;
  CHECK(stats.density == Approx(wanted.density).epsilon(1e-4));
  CHECK(wanted.movable_pages == 0);
  CHECK(stats.movable_pages > 0);
  if (one.rule.method == SparseRule::Method::kDense) {
    CHECK(stats.moved_pages == stats.movable_pages);
  } else {
    CHECK(stats.moved_pages < stats.movable_pages);
  }
}

const std::vector<SparseRule> kLongRules = {kDense, SparseRule::parse("threshold=0.01"),
                                            SparseRule::parse("nz_ratio=0.1")};

// 256 blocks in eight chunks.
constexpr int64_t kLongContext = testing::kSanitized ? 4096 : 16384, kLongChunk = kLongContext / 8;

TEST_CASE("a 16k prompt on two and four ranks gives one rank's masks and logits, then its tokens", "[long]") {
  const Ids ids = long_prompt(kLongContext - 64 - 20);
  const auto alone = testing::load_demo(kLongContext, kLongChunk);
  std::vector<LongCase> expected;
  expected.reserve(kLongRules.size());
  for (const SparseRule& rule : kLongRules) expected.push_back(run_long(*alone, ids, rule));
  // The rules differ by more than the tolerance, so the comparison means something.
  CHECK(difference(expected[0].expected.logits, expected[1].expected.logits) > 10 * kLogitTolerance);
  for (const int n_ranks : {2, 4}) {
    const auto engine = Engine::load(divided(n_ranks, kLongContext, kLongChunk));
    CHECK(engine->info().kv_bytes == alone->info().kv_bytes / n_ranks);
    for (const LongCase& one : expected) check_long(*engine, ids, one);
  }
}

TEST_CASE("prompts of some chunks on two to four ranks give one rank's masks, logits and tokens", "[long]") {
  std::vector<int64_t> lengths = {512 * 2 + 7, 1900};
  if (testing::kSanitized) lengths.pop_back();
  std::vector<std::pair<Ids, LongCase>> expected;
  {
    const auto alone = testing::load_demo(2048, 512);
    for (const int64_t n : lengths)
      for (const SparseRule& rule : kLongRules) {
        const Ids ids = long_prompt(n);
        expected.emplace_back(ids, run_long(*alone, ids, rule));
      }
  }
  for (const int n_ranks : {2, 3, 4}) {
    const auto engine = Engine::load(divided(n_ranks, 2048, 512));
    for (const auto& [ids, one] : expected) check_long(*engine, ids, one);
  }
}

TEST_CASE("turns of a conversation on divided prompts give what one rank gives, cached pages included",
          "[long]") {
  const auto alone = testing::load_demo(1024, 256);
  EngineOptions options = divided(2, 1024, 256);
  options.prefix_cache = true;
  const auto engine = Engine::load(options);
  CHECK(engine->info().n_ranks == 2);
  CHECK(engine->info().rank_split == RankSplit::kContext);
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow})
    for (int time = 0; time < 2; ++time) {
      const auto one = alone->new_session(), two = engine->new_session();
      for (const int64_t begin : {0, 400}) {
        const auto request = greedy(testing::slice(document(700), begin, begin + 300), 12, rule);
        CHECK(two->generate(request).tokens == one->generate(request).tokens);
      }
    }
  CHECK(engine->stats().cached_tokens > 0);
}

TEST_CASE("divided prompts together give what each gives alone, pre-empted ones too") {
  EngineOptions options = divided(2, 512, 256);
  options.pool_size = 768;  // too few pages for all at once
  const auto engine = Engine::load(options);
  const auto alone = testing::load_demo(512, 256);
  std::vector<GenerateRequest> requests;
  for (const int64_t n : {1, 63, 64, 65, 200, 240, 129, 40})
    requests.push_back(greedy(testing::slice(document(700), n, 2 * n), 30, n % 2 == 0 ? kDense : kThreshold));
  testing::check_together(*engine, *alone, requests);
  CHECK(engine->stats().pages_used == 0);
}

TEST_CASE(
    "divided sequences decode on over the pages of every rank, next to each other and next to a prompt") {
  const auto alone = testing::load_demo(768, 128);
  constexpr int64_t kLongest = testing::kSanitized ? 180 : 300;  // five or seven blocks with its prompt
  const std::vector<GenerateRequest> requests = {
      greedy(document(100), kLongest), greedy(document(1), kLongest - 100),
      greedy(testing::slice(document(200), 100, 160), kLongest / 2),
      greedy(document(600), 20, kThreshold)};  // in chunks, while the others decode
  std::vector<Ids> expected;
  expected.reserve(requests.size());
  for (const GenerateRequest& request : requests)
    expected.push_back(alone->new_session()->generate(request).tokens);
  CHECK(expected[0].size() == kLongest);
  for (const int n_ranks : {2, 4}) {
    INFO(n_ranks << " ranks");
    EngineOptions options = divided(n_ranks, 768, 128);
    options.pool_size = 2048;  // room for all at once
    const auto engine = Engine::load(options);
    std::vector<std::unique_ptr<Generation>> running;
    running.reserve(requests.size());
    for (const GenerateRequest& request : requests) running.push_back(engine->submit(request));
    for (size_t i = 0; i < requests.size(); ++i) CHECK(running[i]->wait().tokens == expected[i]);
  }
}

TEST_CASE("a context that one rank's pages do not hold is filled to its end when divided") {
  constexpr int64_t kContext = 1000;  // 16 blocks
  const auto engine = Engine::load(divided(4, kContext, 256));
  const EngineInfo& info = engine->info();
  CHECK(info.n_pages == 16);
  const int64_t of_a_rank = info.n_pages / info.n_ranks * info.page_tokens;
  CHECK(of_a_rank == 256);
  // A rank alone refuses a pool of the size of one rank's part.
  EngineOptions small = demo_options(kContext, 256);
  small.pool_size = of_a_rank;
  refusal(ErrorKind::kUsage, [&] { Engine::load(small); });
  const auto request = greedy(document(kContext - 20), 20, kThreshold);
  const GenerateResult found = engine->new_session()->generate(request);
  CHECK(found.tokens == testing::load_demo(kContext, 256)->new_session()->generate(request).tokens);
  CHECK(found.tokens.size() == 20);
}

TEST_CASE("blocks go to owners in zig-zag, as many to each but for one round") {
  for (const int64_t n_owners : {1, 2, 3, 4})
    for (const int64_t run : {1, 4, 5}) {
      const PageLayout layout{n_owners, run};
      std::vector<int64_t> counted(static_cast<size_t>(n_owners), 0);
      for (int64_t n = 0; n < 100; ++n) {
        int64_t sum = 0;
        for (int64_t who = 0; who < n_owners; ++who) {
          CHECK(layout.n_blocks_of(n, who) == counted[static_cast<size_t>(who)]);
          sum += layout.n_blocks_of(n, who);
        }
        CHECK(sum == n);
        CHECK(layout.most_blocks(n) == *std::max_element(counted.begin(), counted.end()));
        ++counted[static_cast<size_t>(layout.owner(n))];
      }
    }
  const PageLayout two{2, 1};
  CHECK(std::vector<int64_t>{two.owner(0), two.owner(1), two.owner(2), two.owner(3), two.owner(4)} ==
        std::vector<int64_t>{0, 1, 1, 0, 0});
}

}  // namespace
}  // namespace seer
