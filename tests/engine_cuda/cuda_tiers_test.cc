// Tiers below a GPU's pool: pages that come back from the host's memory or from a disk are those that were
// computed, also while other requests decode by recorded steps.
#include <algorithm>
#include <memory>

#include "engine/src/engine_impl.h"
#include "seer/ranks.h"
#include "tests/engine_cuda/evaluation.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::TempDir;

constexpr int64_t kDocuments = 4, kTokens = 1500;

EngineOptions small_pool() {
  EngineOptions options = testing::demo_options("cuda");
  options.ctx_size = 2048;
  options.pool_size = 2048;
  options.chunk_size = 512;
  options.prefix_cache = true;
  return options;
}

GenerateRequest asked(Engine& engine, int64_t document, const char* rule, const char* decode_rule = "dense") {
  const std::vector<int32_t> all = testing::document_tokens(engine, kDocuments * kTokens);
  GenerateRequest request;
  request.prompt.assign(all.begin() + document * kTokens, all.begin() + (document + 1) * kTokens);
  request.sampling.temperature = 0.0;
  request.sparse = SparseRule::parse(rule);
  request.sparse_decode = SparseDecodeRule::parse(decode_rule);
  request.ignore_eos = true;
  request.max_new_tokens = 8;
  request.n_logprobs = 2;
  return request;
}

void flush(Engine& engine) { dynamic_cast<EngineImpl&>(engine).tiers()->flush(); }

void check_same(const GenerateResult& found, const GenerateResult& expected) {
  CHECK(found.tokens == expected.tokens);
  REQUIRE(found.logprobs.size() == expected.logprobs.size());
  for (size_t i = 0; i < found.logprobs.size(); ++i)
    CHECK(found.logprobs[i].token.logprob == expected.logprobs[i].token.logprob);
}

// Returns what each document gives if all its pages are in the pool.
std::vector<GenerateResult> from_pool(EngineOptions options, const char* rule, const char* decode_rule) {
  options.pool_size = 16384;
  options.host_cache_bytes = 0;
  const auto engine = Engine::load(options);
  std::vector<GenerateResult> results;
  for (int64_t d = 0; d < kDocuments; ++d) {
    engine->submit(asked(*engine, d, rule, decode_rule))->wait();
    results.push_back(engine->submit(asked(*engine, d, rule, decode_rule))->wait());
  }
  return results;
}

std::shared_ptr<Engine> load_tiered(const EngineOptions& options) {
  auto engine = Engine::load(options);
  dynamic_cast<EngineImpl&>(*engine).tiers()->restore_always();
  return engine;
}

TEST_CASE("cuda: documents that push one another out come back from the host's memory, bit for bit") {
  if (!testing::have_gpu()) return;
  for (const char* rule : {"dense", "threshold=0.01"}) {
    const std::vector<GenerateResult> expected = from_pool(small_pool(), rule, "dense");
    EngineOptions options = small_pool();
    options.host_cache_bytes = int64_t{256} << 20;
    const auto engine = load_tiered(options);
    for (int round = 0; round < 3; ++round)
      for (int64_t d = 0; d < kDocuments; ++d) {
        INFO(rule << ", round " << round << ", document " << d);
        const GenerateResult found = engine->submit(asked(*engine, d, rule))->wait();
        flush(*engine);
        CHECK(found.tokens == expected[static_cast<size_t>(d)].tokens);
        // The last tokens are then computed in steps of the same sizes.
        if (found.stats.n_cached == expected[static_cast<size_t>(d)].stats.n_cached)
          check_same(found, expected[static_cast<size_t>(d)]);
      }
    const EngineStats stats = engine->stats();
    CHECK(stats.host_cache.restored_tokens > kDocuments * kTokens);
    CHECK(stats.host_cache.failed_pages == 0);
    CHECK(stats.pages_used == 0);
    WARN(rule << ": " << 1e-9 * static_cast<double>(stats.host_cache.restored_bytes) << " GB came back at "
              << static_cast<double>(stats.host_cache.restored_bytes) /
                     static_cast<double>(stats.host_cache.restore_ns)
              << " GB/s, " << stats.host_cache.lost_pages << " pages lost, " << stats.refused_tokens
              << " tokens computed because that was faster");
  }
}

// Asks about all documents in two rounds. What comes back in the second one must have the bits of the pool's.
void check_rounds(EngineOptions options, const char* rule, const char* decode_rule) {
  INFO(rule << ", decoding " << decode_rule << ", chunks of " << options.chunk_size);
  const std::vector<GenerateResult> expected = from_pool(options, rule, decode_rule);
  options.host_cache_bytes = int64_t{256} << 20;
  const auto engine = load_tiered(options);
  int n_compared = 0;
  for (int round = 0; round < 2; ++round)
    for (int64_t d = 0; d < kDocuments; ++d) {
      INFO("round " << round << ", document " << d);
      const GenerateResult found = engine->submit(asked(*engine, d, rule, decode_rule))->wait();
      flush(*engine);
      const GenerateResult& same = expected[static_cast<size_t>(d)];
      if (found.stats.n_cached != same.stats.n_cached)
        continue;  // steps of other sizes round in other places
      check_same(found, same);
      n_compared += found.stats.n_from_host > 0 ? 1 : 0;
    }
  CHECK(n_compared > 0);
}

TEST_CASE("cuda: pages come back under every rule, with gates of both kinds, and with chunks of two sizes") {
  if (!testing::have_gpu()) return;
  EngineOptions options = small_pool();
  options.more_gates_dir = (testing::demo_model() / "decode-gates").string();
  for (const int64_t chunk_size : {256, 512}) {
    options.chunk_size = chunk_size;
    for (const char* rule : {"dense", "threshold=0.01", "nz_ratio=0.2", "nz_ratio_row=0.2"})
      check_rounds(options, rule, chunk_size == 256 ? "ratio=0.3" : "dense");
  }
}

#ifdef SEER_HAVE_NCCL
TEST_CASE("cuda: pages of two ranks come back, whether ranks divide heads or tokens") {
  if (!testing::have_gpu()) return;
  testing::prepare_gpu_ranks(2);
  for (const RankSplit split : {RankSplit::kTensor, RankSplit::kContext}) {
    INFO((split == RankSplit::kTensor ? "heads" : "tokens"));
    std::vector<GenerateResult> in_pool, restored;
    for (const bool tiers : {false, true}) {
      EngineOptions options = small_pool();
      options.ranks = Ranks::start(2, {SEER_BINARY});
      options.rank_split = split;
      options.pool_size = tiers ? 4096 : 16384;
      options.host_cache_bytes = tiers ? int64_t{256} << 20 : 0;
      const auto engine = tiers ? load_tiered(options) : Engine::load(options);
      for (int round = 0; round < 2; ++round)
        for (int64_t d = 0; d < kDocuments; ++d) {
          GenerateResult found = engine->submit(asked(*engine, d, "threshold=0.01"))->wait();
          if (tiers) flush(*engine);
          if (round == 1) (tiers ? restored : in_pool).push_back(std::move(found));
        }
      if (tiers) CHECK(engine->stats().host_cache.restored_tokens > 0);
    }
    for (size_t d = 0; d < in_pool.size(); ++d) {
      INFO("document " << d);
      if (restored[d].stats.n_cached == in_pool[d].stats.n_cached) check_same(restored[d], in_pool[d]);
    }
  }
}
#endif

TEST_CASE("cuda: pages come back from a disk after a restart, bit for bit") {
  if (!testing::have_gpu()) return;
  const TempDir dir;
  const std::vector<GenerateResult> expected = from_pool(small_pool(), "threshold=0.01", "dense");
  for (int start = 0; start < 2; ++start) {
    EngineOptions options = small_pool();
    options.disk_cache_dir = (dir.path() / "cache").string();
    options.disk_cache_bytes = int64_t{1} << 30;
    const auto engine = load_tiered(options);
    for (int64_t d = 0; d < kDocuments; ++d) {
      const GenerateResult found = engine->submit(asked(*engine, d, "threshold=0.01"))->wait();
      CHECK(found.tokens == expected[static_cast<size_t>(d)].tokens);
      if (start == 0) continue;
      // Computing may be expected to be faster, but not for the first, about which nothing is known.
      if (d == 0) CHECK(found.stats.n_from_disk == expected[0].stats.n_cached);
      if (found.stats.n_from_disk > 0) check_same(found, expected[static_cast<size_t>(d)]);
    }
  }
}

TEST_CASE("cuda: copies beside recorded steps change no token of requests that decode") {
  if (!testing::have_gpu()) return;
  EngineOptions options = small_pool();
  options.pool_size = 4096;
  options.host_cache_bytes = int64_t{256} << 20;
  const auto engine = load_tiered(options);
  GenerateRequest long_answer = asked(*engine, 0, "dense");
  long_answer.prompt.resize(100);
  long_answer.max_new_tokens = 600;
  long_answer.n_logprobs = std::nullopt;
  const std::vector<int32_t> alone = engine->submit(long_answer)->wait().tokens;
  std::vector<std::vector<int32_t>> first;
  for (int64_t d = 0; d < kDocuments; ++d)
    first.push_back(engine->submit(asked(*engine, d, "dense"))->wait().tokens);
  const auto decoding = engine->submit(long_answer);
  int n_same = 0;
  for (int round = 0; round < 4; ++round)
    for (int64_t d = 0; d < kDocuments; ++d)
      n_same += engine->submit(asked(*engine, d, "dense"))->wait().tokens == first[static_cast<size_t>(d)];
  // Steps of other sizes round in other places, so an answer may change at a tie, but not most of them.
  CHECK(n_same >= 12);
  const std::vector<int32_t> beside = decoding->wait().tokens;
  REQUIRE(beside.size() == alone.size());
  CHECK(std::equal(alone.begin(), alone.begin() + 20, beside.begin()));
  CHECK(engine->stats().host_cache.restored_tokens > 0);
}

}  // namespace
}  // namespace seer
