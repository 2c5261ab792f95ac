// Tiers below the pool: what is saved, what comes back, and what happens to requests meanwhile. The model has
// exact arithmetic, so one page with wrong contents changes all later tokens.
#include "engine/src/tiers/tiered_pages.h"

#include <stdexcept>
#include <thread>

#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/engine/gate.h"
#include "tests/engine/memory_tier.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

FakeOptions with_disk(const std::shared_ptr<MemoryTier>& disk, int64_t n_pages = 40) {
  FakeOptions options;
  options.n_pages = n_pages;
  options.prefix_cache = true;
  options.disk = disk;
  return options;
}

GenerateResult finish(FakeEngine& engine, const std::shared_ptr<Request>& request) {
  return GenerationImpl(request, engine.scheduler->signals()).wait();
}

// Runs the request, checks its tokens, and saves its pages.
RequestStats check_run(FakeEngine& engine, const GenerateRequest& request) {
  const GenerateResult result = engine.submit(request)->wait();
  CHECK(result.tokens == engine.expected(request));
  CHECK(result.stats.n_prompt + result.stats.n_cached == static_cast<int64_t>(request.prompt.size()));
  engine.tiers().flush();
  return result.stats;
}

// Returns a disk that has the pages of `request`, written by an engine that has ended.
std::shared_ptr<MemoryTier> disk_with(const GenerateRequest& request) {
  const auto disk = std::make_shared<MemoryTier>();
  FakeEngine engine(with_disk(disk));
  check_run(engine, request);
  REQUIRE(disk->n_pages() > 0);
  return disk;
}

TEST_CASE("documents that push one another out of the pool are each computed once, under every rule") {
  const auto disk = std::make_shared<MemoryTier>();
  FakeOptions options = with_disk(disk);
  options.copies_need_turn = GENERATE(false, true);
  options.last_block_dense = GENERATE(true, false);
  FakeEngine engine(options);
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow})
    for (int round = 0; round < 2; ++round)
      for (const uint64_t document : {1, 2, 3}) {
        INFO(rule.to_string() << ", document " << document << ", round " << round);
        const GenerateRequest request = fake_request(fake_ids(490, document), 20, rule);
        const RequestStats stats = check_run(engine, request);
        CHECK(stats.n_from_host == 0);
        // 490 tokens have 30 full pages, of which sparse rules leave the last two block rows to each prompt.
        const bool dense_end = rule != kDense && options.last_block_dense;
        CHECK(stats.n_from_disk == (round == 0 ? 0 : dense_end ? 464 : 480));
        CHECK(stats.n_cached == stats.n_from_disk);
      }
  const TierStats& stats = engine.stats().disk_cache;
  CHECK(stats.n_pages == disk->n_pages());
  CHECK(stats.saved_pages == stats.n_pages);
  CHECK(stats.lost_pages == 0);
  CHECK(stats.failed_pages == 0);
  CHECK(stats.restored_pages * 16 == stats.restored_tokens);
  CHECK(stats.restored_bytes == stats.restored_pages * engine.mover->record_bytes());
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("another engine finds what the first has written, and an answer's pages too") {
  const GenerateRequest first = fake_request(fake_ids(100, 1), 100);
  const auto disk = disk_with(first);
  FakeEngine engine(with_disk(disk));
  CHECK(check_run(engine, first).n_from_disk == 96);
  Ids longer = join(first.prompt, engine.expected(first));
  longer.push_back(5);
  FakeEngine next(with_disk(disk));
  // Of the first run's 200 tokens, the last one was never computed, so 199 were in pages, of which 12 were
  // full.
  CHECK(check_run(next, fake_request(longer, 10)).n_from_disk == 192);
}

TEST_CASE("an engine that ends writes what is queued") {
  const auto disk = std::make_shared<MemoryTier>();
  const GenerateRequest request = fake_request(fake_ids(160, 1), 1);
  std::thread opener;
  {
    FakeEngine engine(with_disk(disk));
    disk->hold_stores();
    engine.submit(request)->wait();
    CHECK(disk->n_pages() == 0);
    opener = std::thread([&] { disk->release(); });
  }
  opener.join();
  CHECK(disk->n_pages() == 10);
}

TEST_CASE("after a damaged page the rest of the prompt is computed") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  for (const int64_t n_good : {0, 1, 2, 3, 7, 29}) {
    INFO(n_good << " good pages");
    int64_t n = 0;
    disk->damaged = [&](int64_t) { return n++ == n_good; };
    FakeEngine engine(with_disk(disk));
    CHECK(check_run(engine, request).n_from_disk == 16 * n_good);
    CHECK(engine.stats().disk_cache.failed_pages == 1);
    CHECK(engine.stats().disk_cache.restored_pages == n_good);
    CHECK(engine.stats().pages_used == 0);
  }
}

TEST_CASE("a disk that takes nothing costs no request anything, and is counted") {
  const auto disk = std::make_shared<MemoryTier>();
  disk->refuse();
  FakeEngine engine(with_disk(disk));
  check_run(engine, fake_request(fake_ids(490, 1), 20));
  check_run(engine, fake_request(fake_ids(490, 2), 20));
  CHECK(engine.stats().disk_cache.lost_pages > 30);
  CHECK(engine.stats().disk_cache.saved_pages == 0);
}

TEST_CASE("while pages come back, other requests are computed") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeOptions options = with_disk(disk, 100);
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  disk->hold_loads();
  const auto restoring = engine.submit_raw(request);
  disk->wait_for_held_load();
  check_run(engine, fake_request(fake_ids(300, 2), 30));
  CHECK(engine.stats().n_running == 1);
  disk->release();
  CHECK(finish(engine, restoring).tokens == engine.expected(request));
  CHECK(restoring->stats().n_from_disk == 480);
}

TEST_CASE("a request that is cancelled while its pages come back gives all of them up") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeOptions options = with_disk(disk);
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  disk->hold_loads();
  const auto generation = engine.submit(request);
  disk->wait_for_held_load();
  generation->cancel();
  CHECK(generation->wait().finish == FinishReason::kCancelled);
  CHECK(engine.stats().pages_used == 0);
  disk->release();
  CHECK(check_run(engine, request).n_from_disk == 480);
}

TEST_CASE("what comes for a cancelled request is not written over the pages of those that have them now") {
  const GenerateRequest first = fake_request(fake_ids(490, 1), 20),
                        third = fake_request(fake_ids(490, 3), 20),
                        second = fake_request(fake_ids(490, 2), 20);
  const auto disk = disk_with(first);
  {
    FakeEngine engine(with_disk(disk));
    check_run(engine, third);
  }
  FakeEngine engine(with_disk(disk, 100));
  const int64_t n_before = engine.options.batch_pages;  // pages that are loaded for the cancelled request
  disk->hold_loads();
  const auto generation = engine.submit(first);
  disk->wait_for_held_load();
  generation->cancel();
  generation->wait();
  engine.runner.hold();
  const auto has_the_pages = engine.submit(second), restoring = engine.submit(third);
  const int64_t n_loads = disk->n_loads();
  engine.runner.before_step = [&](int64_t step) {
    if (step != 2) return;
    disk->release();
    disk->wait_for_loads(n_loads + n_before + 1);  // the thread is at the third request's pages
  };
  engine.runner.release();
  CHECK(has_the_pages->wait().tokens == engine.expected(second));
  CHECK(restoring->wait().tokens == engine.expected(third));
}

TEST_CASE("a request that is cancelled while a page is being written keeps the page until the copy is done") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeEngine engine(with_disk(disk));
  Gate gate;
  engine.mover->before_write = [&] { gate.pass(); };
  const auto generation = engine.submit(request);
  gate.wait_until_reached();
  generation->cancel();
  CHECK(generation->wait().finish == FinishReason::kCancelled);
  CHECK(engine.stats().pages_used == 30);
  // A request that needs the whole pool waits for the copy, and is not refused.
  const GenerateRequest large = fake_request(fake_ids(600, 2), 30);
  const auto waits = engine.submit(large);
  gate.open();
  CHECK(waits->wait().tokens == engine.expected(large));
  engine.tiers().flush();  // pages that are being copied count as used
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("a request whose pages are being saved can be cut, and the pool's last page waits for the copy") {
  const auto disk = std::make_shared<MemoryTier>();
  FakeEngine engine(with_disk(disk, 10));
  Gate gate;
  engine.mover->before_read = [&] { gate.pass(); };
  Sequence sequence(&engine.pages, engine.traits(), engine.scheduler->tiers());
  std::condition_variable changed;
  std::atomic<bool> cancelled{false};
  const GenerateRequest first = fake_request(fake_ids(100, 1), 1);
  sequence.append(first.prompt);
  const auto request = std::make_shared<Request>(engine.setup(first), &sequence, &changed);
  CHECK(engine.scheduler->run(request, cancelled));
  gate.wait_until_reached();
  {
    const std::lock_guard lock(engine.scheduler->mutex());
    sequence.truncate(20);
  }
  const GenerateRequest whole_pool = fake_request(fake_ids(130, 2), 1);
  const auto waits = engine.submit(whole_pool);
  std::thread opener([&] { gate.open(); });
  CHECK(waits->wait().tokens == engine.expected(whole_pool));
  opener.join();
  engine.tiers().flush();
  CHECK(engine.stats().pages_used == 1);
  const std::lock_guard lock(engine.scheduler->mutex());
  sequence.clear();
}

TEST_CASE("two requests for the same pages bring them back at once, and share them in the end") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeOptions options = with_disk(disk, 100);
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  disk->hold_loads();
  engine.runner.hold();
  const auto a = engine.submit_raw(request), b = engine.submit_raw(request);
  disk->wait_for_held_load();
  engine.runner.release();
  disk->release();
  CHECK(finish(engine, a).tokens == engine.expected(request));
  CHECK(finish(engine, b).tokens == engine.expected(request));
  CHECK(a->stats().n_cached == 480);
  CHECK(b->stats().n_cached == 480);
  engine.tiers().flush();
  CHECK(engine.stats().pages_used == 0);
  CHECK(engine.stats().pages_cached <= 32);
}

TEST_CASE("an evaluation takes the pages of a request that waits for its own, which then begins again") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeOptions options = with_disk(disk);
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  disk->hold_loads();
  const auto restoring = engine.submit_raw(request);
  disk->wait_for_held_load();
  {
    Scheduler::Lock lock(engine.scheduler->mutex());
    const Scheduler::Turn turn(engine.scheduler.get(), &lock);
    Sequence evaluated(&engine.pages, engine.traits());
    engine.scheduler->reserve_at_any_price(&evaluated, 16 * 40, &lock);
    CHECK(evaluated.n_pages() == 40);
    CHECK(restoring->state == Request::State::kWaiting);
    evaluated.clear();
  }
  disk->release();
  CHECK(finish(engine, restoring).tokens == engine.expected(request));
  engine.tiers().flush();
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("a session that is alone waits for its pages, and can be cancelled meanwhile") {
  const GenerateRequest asked = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(asked);
  FakeOptions options = with_disk(disk);
  options.copies_need_turn = GENERATE(false, true);
  FakeEngine engine(options);
  std::condition_variable changed;
  std::atomic<bool> cancelled{false};
  const auto run = [&](Sequence* sequence) {
    sequence->append(asked.prompt);
    const auto request = std::make_shared<Request>(engine.setup(asked), sequence, &changed);
    const bool ended = engine.scheduler->run(request, cancelled);
    CHECK(ended != cancelled);
    if (ended) CHECK(request->final_result().tokens == engine.expected(asked));
    if (ended) CHECK(request->stats().n_from_disk == 480);
    const std::lock_guard lock(engine.scheduler->mutex());
    sequence->clear();
  };
  Sequence sequence(&engine.pages, engine.traits(), engine.scheduler->tiers());
  disk->hold_loads();
  std::thread user([&] { run(&sequence); });
  disk->wait_for_held_load();
  {
    const std::lock_guard lock(engine.scheduler->mutex());
    cancelled = true;
    changed.notify_all();
  }
  user.join();
  CHECK(engine.stats().pages_used == 0);
  cancelled = false;
  disk->release();
  run(&sequence);
}

TEST_CASE("a step that fails fails its own requests, and not one whose pages come back") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeEngine engine(with_disk(disk, 100));
  disk->hold_loads();
  const auto restoring = engine.submit_raw(request);
  disk->wait_for_held_load();
  const bool lost = GENERATE(false, true);
  engine.runner.before_step = [&](int64_t) {
    throw Error(lost ? ErrorKind::kDevice : ErrorKind::kRuntime, "a step failed");
  };
  const auto fails = engine.submit(fake_request(fake_ids(300, 2), 30));
  CHECK_THAT(error_of([&] { fails->wait(); }), ContainsSubstring("a step failed"));
  engine.runner.before_step = nullptr;
  if (lost) CHECK_THAT(error_of([&] { finish(engine, restoring); }), ContainsSubstring("a step failed"));
  disk->release();
  if (!lost) CHECK(finish(engine, restoring).tokens == engine.expected(request));
  engine.tiers().flush();
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("a copy that fails ends the tiers, and no request") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeEngine engine(with_disk(disk));
  (GENERATE(false, true) ? engine.mover->before_read : engine.mover->before_write) = [] {
    throw std::runtime_error("no copy");
  };
  CHECK(engine.submit(request)->wait().tokens == engine.expected(request));
  check_run(engine, fake_request(fake_ids(490, 2), 20));
  check_run(engine, request);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("an engine may end while pages come back") {
  const GenerateRequest request = fake_request(fake_ids(490, 1), 20);
  const auto disk = disk_with(request);
  FakeOptions options = with_disk(disk);
  options.copies_need_turn = GENERATE(false, true);
  std::unique_ptr<Generation> generation;
  std::thread opener;
  {
    FakeEngine engine(options);
    disk->hold_loads();
    generation = engine.submit(request);
    disk->wait_for_held_load();
    opener = std::thread([&] {
      generation->wait();  // the request ends before the tiers' threads do
      disk->release();
    });
  }
  opener.join();
  CHECK(generation->wait().finish == FinishReason::kCancelled);
}

TEST_CASE("requests in pools of every size, with tiers that fail now and then, give their tokens") {
  for (int64_t n_pages = 12; n_pages < 40; n_pages += 3)
    for (const bool needs_turn : {false, true}) {
      INFO(n_pages << " pages, " << needs_turn);
      const auto disk = std::make_shared<MemoryTier>(), host = std::make_shared<MemoryTier>();
      disk->damaged = [](int64_t n) { return n % 23 == 22; };
      FakeOptions options = with_disk(disk, n_pages);
      if (n_pages % 2 == 0) options.host = host;
      options.copies_need_turn = needs_turn;
      options.last_block_dense = n_pages % 4 != 0;
      FakeEngine engine(options);
      const int64_t lengths[] = {1, 16, 40, 47, 48, 64, 65, 100};
      const SparseRule rules[] = {kDense, kThreshold, kDense, kNzRatioRow};
      std::vector<GenerateRequest> requests;
      for (int64_t i = 0; i < 48; ++i) {
        // Each document is asked for several times, and requests of one document share beginnings.
        const Ids document = fake_ids(lengths[i % 8] + 16 * (i / 24), static_cast<uint64_t>(i % 5));
        requests.push_back(fake_request(document, 10 + 13 * (i % 7), rules[i % 4]));
        if (i % 3 == 0) requests.back().sparse_decode = kDecodeBudget;
      }
      std::vector<std::unique_ptr<Generation>> running;
      for (const GenerateRequest& request : requests) running.push_back(engine.submit(request));
      for (size_t i = 0; i < requests.size(); ++i) {
        const GenerateResult result = running[i]->wait();
        CHECK(result.tokens == engine.expected(requests[i]));
        CHECK(result.stats.n_prompt + result.stats.n_cached ==
              static_cast<int64_t>(requests[i].prompt.size()));
      }
      engine.tiers().flush();
      CHECK(engine.stats().pages_used == 0);
      CHECK(engine.stats().n_finished == 48);
    }
}

TEST_CASE("the host's tier gets pages before the pool evicts them, and nothing of what stays") {
  const auto host = std::make_shared<MemoryTier>();
  FakeOptions options = with_disk(nullptr, 64);
  options.host = host;
  FakeEngine engine(options);
  check_run(engine, fake_request(fake_ids(480, 1), 1));
  CHECK(host->n_pages() == 0);  // half of the pool is empty
  check_run(engine, fake_request(fake_ids(480, 2), 1));
  const int64_t n_ahead = host->n_pages();
  // Up to as many of each kind, fresh and kept, as the watermark says.
  CHECK(n_ahead == 16);
  check_run(engine, fake_request(fake_ids(480, 3), 1));
  const RequestStats stats = check_run(engine, fake_request(fake_ids(480, 1), 1));
  CHECK(stats.n_from_disk == 0);
  const TierStats& tier = engine.stats().host_cache;
  CHECK(tier.restored_tokens == stats.n_from_host);
  CHECK(tier.saved_pages == host->n_pages());
}

TEST_CASE("documents asked in turn, more than the pool holds, come back from the host's tier") {
  FakeOptions options = with_disk(nullptr, 64);
  options.host = std::make_shared<MemoryTier>();
  options.watermark_pages = 24;  // more than a document has
  FakeEngine engine(options);
  for (int round = 0; round < 3; ++round)
    for (uint64_t document = 1; document <= 6; ++document) {
      const RequestStats stats = check_run(engine, fake_request(fake_ids(320, document), 1));
      if (round > 0) CHECK(stats.n_cached == 304);  // all pages of 16 tokens but the one of the last token
    }
  CHECK(engine.stats().host_cache.lost_pages == 0);
}

}  // namespace
}  // namespace seer
