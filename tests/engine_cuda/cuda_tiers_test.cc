// Tiers below a GPU's pool: pages that come back from the host's memory or from a disk are those that were
// computed, also while other requests decode by recorded steps.
#include <algorithm>
#include <memory>

#include "engine/src/engine_impl.h"
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

GenerateRequest asked(Engine& engine, int64_t document, const char* rule) {
  const std::vector<int32_t> all = testing::document_tokens(engine, kDocuments * kTokens);
  GenerateRequest request;
  request.prompt.assign(all.begin() + document * kTokens, all.begin() + (document + 1) * kTokens);
  request.sampling.temperature = 0.0;
  request.sparse = SparseRule::parse(rule);
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

// What each document gives when all its pages are in the pool.
std::vector<GenerateResult> from_pool(const char* rule) {
  EngineOptions options = small_pool();
  options.pool_size = 16384;
  const auto engine = Engine::load(options);
  std::vector<GenerateResult> results;
  for (int64_t d = 0; d < kDocuments; ++d) {
    engine->submit(asked(*engine, d, rule))->wait();
    results.push_back(engine->submit(asked(*engine, d, rule))->wait());
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
    const std::vector<GenerateResult> expected = from_pool(rule);
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

TEST_CASE("cuda: pages come back from a disk after a restart, bit for bit") {
  if (!testing::have_gpu()) return;
  const TempDir dir;
  const std::vector<GenerateResult> expected = from_pool("threshold=0.01");
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
