// The host's tier below a pool, with a fake model: pages are copied straight to the place where they stay.
#include "engine/src/tiers/host_pages.h"
#include "engine/src/tiers/tiered_pages.h"
#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/engine/memory_tier.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kRecord = 16 * static_cast<int64_t>(sizeof(uint64_t));  // FakeMover's

std::shared_ptr<HostPages> host_of(int64_t n_pages, Backend* backend) {
  return std::make_shared<HostPages>(n_pages * kRecord, kRecord, backend);
}

FakeOptions with_host(const std::shared_ptr<PageTier>& host) {
  FakeOptions options;
  options.n_pages = 80;
  options.prefix_cache = true;
  options.host = host;
  options.watermark_pages = 40;
  options.storage_threads = 3;
  return options;
}

GenerateResult ask(FakeEngine& engine, uint64_t document) {
  const GenerateRequest request = fake_request(fake_ids(490, document), 20);
  GenerateResult result = engine.submit(request)->wait();
  CHECK(result.tokens == engine.expected(request));
  engine.tiers().flush();
  return result;
}

TEST_CASE("documents that push one another out of the pool come back from the host's memory", "[threads]") {
  const auto backend = make_cpu_backend(1);
  FakeOptions options = with_host(host_of(200, backend.get()));
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  engine.tiers().restore_always();
  int64_t n_from_host = 0;
  for (int round = 0; round < 3; ++round)
    for (const uint64_t document : {1, 2, 3, 4}) {
      INFO("round " << round << ", document " << document);
      n_from_host += ask(engine, document).stats.n_from_host;
    }
  CHECK(n_from_host > 4 * 480);
  const EngineStats stats = engine.stats();
  CHECK(stats.host_cache.restored_tokens == n_from_host);
  CHECK(stats.host_cache.failed_pages == 0);
  CHECK(stats.host_cache.n_pages <= 200);
  CHECK(stats.pages_used == 0);
}

TEST_CASE("pages go to both tiers, and come back after a restart although the host's memory is too small",
          "[threads]") {
  const auto backend = make_cpu_backend(1);
  const auto disk = std::make_shared<MemoryTier>();
  for (int start = 0; start < 2; ++start) {
    FakeOptions options = with_host(host_of(20, backend.get()));
    options.disk = disk;
    FakeEngine engine(options);
    engine.tiers().restore_always();
    for (int round = 0; round < 2; ++round)
      for (const uint64_t document : {1, 2, 3, 4}) {
        INFO("start " << start << ", round " << round << ", document " << document);
        const RequestStats stats = ask(engine, document).stats;
        if (start + round > 0) CHECK(stats.n_cached == 480);
      }
    const EngineStats stats = engine.stats();
    CHECK(stats.disk_cache.restored_tokens > 0);
    CHECK(stats.host_cache.n_pages == 20);
    CHECK(stats.disk_cache.failed_pages == 0);
  }
}

TEST_CASE("if the device fails while pages are copied to the host's memory, none of them counts as there") {
  const auto backend = make_cpu_backend(1);
  const auto host = host_of(200, backend.get());
  FakeEngine engine(with_host(host));
  engine.mover->before_read = [] { throw Error(ErrorKind::kDevice, "the device is gone"); };
  for (int round = 0; round < 2; ++round)
    for (const uint64_t document : {1, 2, 3, 4}) CHECK(ask(engine, document).stats.n_from_host == 0);
  CHECK(host->n_pages() == 0);
  CHECK(engine.stats().pages_used == 0);
}

}  // namespace
}  // namespace seer
