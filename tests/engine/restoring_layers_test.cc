// Pages come back layer by layer after steps that need them have begun. The model has exact arithmetic, so a
// step that reads a layer too early changes all later tokens.
#include <atomic>
#include <chrono>
#include <thread>

#include "engine/src/tiers/host_pages.h"
#include "engine/src/tiers/tiered_pages.h"
#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/engine/gate.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kRecord = 16 * static_cast<int64_t>(sizeof(uint64_t));  // FakeMover's
constexpr int64_t kLayers = 4;

// The host's tier, of which the next borrow() can be held, and can find nothing.
class HeldHost final : public PageTier {
 public:
  HeldHost(int64_t n_pages, Backend* backend) : pages_(n_pages * kRecord, kRecord, backend) {}
  bool has(const PageName& name) override { return pages_.has(name); }
  bool store(const PageName& name, std::span<const std::byte> record, double cost_s) override {
    return pages_.store(name, record, cost_s);
  }
  bool load(const PageName& name, std::span<std::byte> record) override { return pages_.load(name, record); }
  bool in_memory() const override { return true; }
  std::byte* begin_store(const PageName& name, double cost_s) override {
    return pages_.begin_store(name, cost_s);
  }
  void end_store(const PageName& name, bool complete) override { pages_.end_store(name, complete); }
  const std::byte* borrow(const PageName& name) override {
    Gate* const gate = hold.exchange(nullptr);
    if (gate != nullptr) gate->pass();
    return gate != nullptr && misses ? nullptr : pages_.borrow(name);
  }
  void release_record(const PageName& name) override { pages_.release_record(name); }
  void used(std::span<const PageName> chain) override { pages_.used(chain); }
  int64_t n_pages() const override { return pages_.n_pages(); }
  int64_t n_bytes() const override { return pages_.n_bytes(); }

  std::atomic<Gate*> hold{nullptr};
  std::atomic<bool> misses{false};  // whether a borrow() that was held finds nothing

 private:
  HostPages pages_;
};

struct LayeredEngine {
  explicit LayeredEngine(int64_t n_pages = 40, int64_t n_host_pages = 400)
      : backend(make_cpu_backend(1)),
        host(std::make_shared<HeldHost>(n_host_pages, backend.get())),
        engine(options(n_pages, host)) {}
  static FakeOptions options(int64_t n_pages, const std::shared_ptr<HeldHost>& host) {
    FakeOptions options;
    options.n_pages = n_pages;
    options.prefix_cache = true;
    options.host = host;
    options.watermark_pages = n_pages;
    options.n_layers = kLayers;
    return options;
  }

  // Asks about the document, and saves its pages.
  RequestStats ask(uint64_t document) {
    const GenerateRequest request = asked(document);
    const GenerateResult result = engine.submit(request)->wait();
    CHECK(result.tokens == engine.expected(request));
    engine.tiers().flush();
    return result.stats;
  }
  static GenerateRequest asked(uint64_t document) { return fake_request(fake_ids(490, document), 20); }
  // Afterwards the first document is in the host's tier, and not in the pool.
  void push_out_first() {
    for (const uint64_t document : {1, 2, 3}) ask(document);
  }

  // From now on the copy of the second layer fails, but not before a step that needs the layer has begun.
  void fail_second_layer() {
    engine.mover->before_write = [this, n_writes = 0]() mutable {
      if (n_writes++ == 0) return;
      while (engine.runner.n_waited == 0) std::this_thread::yield();
      throw Error(ErrorKind::kRuntime, "no copy");
    };
  }

  std::unique_ptr<Backend> backend;
  std::shared_ptr<HeldHost> host;
  FakeEngine engine;
};

// Checks that no page is in use any more. The thread that brings pages back gives them up a moment after the
// step that waited for them.
void check_free(const FakeEngine& engine) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (engine.stats().pages_used > 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  CHECK(engine.stats().pages_used == 0);
}

GenerateResult finish(FakeEngine& engine, const std::shared_ptr<Request>& request) {
  return GenerationImpl(request, engine.scheduler->signals()).wait();
}

TEST_CASE("a step begins before the layers of its pages are there, and reads each after it has come",
          "[threads]") {
  LayeredEngine layered;
  FakeRunner& runner = layered.engine.runner;
  // The second layer of each run comes after a step has begun that needs it.
  int64_t n_writes = 0, n_waited = 0;
  layered.engine.mover->before_write = [&] {
    if (n_writes++ % kLayers != 1) return;
    while (runner.n_waited == n_waited) std::this_thread::yield();
    n_waited = runner.n_waited;
  };
  for (int round = 0; round < 3; ++round)
    for (const uint64_t document : {1, 2, 3, 4}) {
      INFO("round " << round << ", document " << document);
      const RequestStats stats = layered.ask(document);
      CHECK(stats.n_prompt + stats.n_cached == 490);
      CHECK(stats.n_from_disk == 0);
      if (round > 0) CHECK(stats.n_from_host > 0);
      CHECK((stats.restore_ns > 0) == (stats.n_from_host > 0));
      CHECK(stats.restore_ns <= stats.prefill_ns);
    }
  CHECK(n_waited >= 8);
  CHECK(n_writes == n_waited * kLayers);
  const EngineStats stats = layered.engine.stats();
  CHECK(stats.host_cache.restored_tokens > 4 * 480);
  check_free(layered.engine);
}

TEST_CASE("if a layer cannot be copied, the step that waits for it fails, and later requests do without") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  layered.push_out_first();
  layered.fail_second_layer();
  const auto fails = engine.submit(layered.asked(1));
  CHECK_THAT(error_of([&] { fails->wait(); }), ContainsSubstring("no copy"));
  engine.tiers().flush();
  check_free(engine);
  CHECK(layered.ask(1).n_from_host == 0);
  check_free(engine);
}

TEST_CASE("a session whose pages were to come computes them after the copy has failed") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  layered.push_out_first();
  layered.fail_second_layer();
  std::condition_variable changed;
  const std::atomic<bool> cancelled{false};
  const GenerateRequest asked = layered.asked(1);
  Sequence sequence(&engine.pages, engine.traits(), engine.scheduler->tiers());
  sequence.append(asked.prompt);
  const auto fails = std::make_shared<Request>(engine.setup(asked), &sequence, &changed);
  CHECK_THAT(error_of([&] { engine.scheduler->run(fails, cancelled); }), ContainsSubstring("no copy"));
  CHECK(sequence.n_computed() == 16 * sequence.n_shared());
  CHECK(sequence.n_pages() == sequence.n_shared());
  const auto again = std::make_shared<Request>(engine.setup(asked), &sequence, &changed);
  CHECK(engine.scheduler->run(again, cancelled));
  CHECK(again->final_result().tokens == engine.expected(asked));
  const std::lock_guard lock(engine.scheduler->mutex());
  sequence.clear();
}

TEST_CASE("a request that no step has used yet goes on without the pages if they do not come") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  const GenerateRequest asked = layered.asked(1);
  Sequence sequence(&engine.pages, engine.traits());
  sequence.append(asked.prompt);
  std::condition_variable changed;
  Request request(engine.setup(asked), &sequence, &changed);
  request.start();
  REQUIRE(sequence.reserve(490));
  RestoreJob job;
  job.names.resize(30);
  job.pages_of[static_cast<size_t>(TierKind::kHost)] = 30;
  job.layers.emplace().arrivals = std::make_shared<LayerArrivals>(kLayers);
  job.layers->may_start = true;
  CHECK(job.has_news());
  request.restored(job, 16);
  CHECK(job.started());
  CHECK(!job.has_news());
  CHECK(request.stats().n_from_host == 480);
  CHECK(sequence.n_computed() == 480);
  job.layers->arrivals->arrived(kLayers - 1);
  job.ended = true;
  CHECK(job.has_news());
  request.restored(job, 16);
  CHECK(request.stats().n_cached == 0);
  CHECK(request.stats().n_from_host == 0);
  CHECK(sequence.n_computed() == 0);
  CHECK(sequence.n_shared() == 0);
  sequence.clear();
}

TEST_CASE("a request that is cancelled before its first layer has come gives its pages and records back") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  layered.push_out_first();
  engine.runner.hold();
  const auto runs = engine.submit(layered.asked(9));
  Gate gate;
  engine.mover->before_write = [&] { gate.pass(); };
  const auto generation = engine.submit(layered.asked(1));
  generation->cancel();
  engine.runner.release();
  CHECK(generation->wait().finish == FinishReason::kCancelled);
  gate.open();
  CHECK(runs->wait().tokens == engine.expected(layered.asked(9)));
  engine.mover->before_write = nullptr;
  for (const uint64_t document : {1, 2, 3, 1}) layered.ask(document);
  check_free(engine);
}

TEST_CASE("a request that needs the last pages waits until the records of a younger one are borrowed") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  layered.push_out_first();
  layered.host->misses = GENERATE(false, true);
  const GenerateRequest long_answer = fake_request(fake_ids(128, 9), 400);
  engine.runner.hold();
  const auto older = engine.submit_raw(long_answer);
  while (engine.stats().n_steps == 0) std::this_thread::yield();
  Gate gate;
  layered.host->hold = &gate;
  const auto younger = engine.submit_raw(fake_request(fake_ids(330, 1), 4));
  engine.runner.release();
  gate.wait_until_reached();
  // The older one decodes until the pool is used up. It must not fail then.
  for (int64_t n_steps = -1; n_steps != engine.stats().n_steps;) {
    n_steps = engine.stats().n_steps;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  CHECK(engine.stats().n_failed == 0);
  gate.open();
  CHECK(finish(engine, older).tokens == engine.expected(long_answer));
  CHECK(finish(engine, younger).tokens == engine.expected(fake_request(fake_ids(330, 1), 4)));
  engine.tiers().flush();
  check_free(engine);
}

TEST_CASE("a request whose layers would come too late for a step of others is left out of it") {
  LayeredEngine layered(80);
  FakeEngine& engine = layered.engine;
  for (const uint64_t document : {1, 2, 3, 4, 5, 6}) layered.ask(document);
  engine.tiers().restore_always(/*in_time=*/false);
  Gate gate;
  engine.mover->before_write = [&, n_writes = 0]() mutable {
    if (n_writes++ == 1) gate.pass();
  };
  // The other one decodes at first, and then ends while the layers are still held.
  const GenerateRequest other = fake_request(fake_ids(128, 9), 100);
  engine.runner.hold();
  const auto decoding = engine.submit_raw(other);
  while (engine.stats().n_steps == 0) std::this_thread::yield();
  const auto restoring = engine.submit_raw(layered.asked(1));
  engine.runner.release();
  gate.wait_until_reached();
  CHECK(finish(engine, decoding).tokens == engine.expected(other));
  gate.open();
  CHECK(finish(engine, restoring).tokens == engine.expected(layered.asked(1)));
  CHECK(restoring->stats().n_from_host > 0);
  engine.tiers().flush();
  check_free(engine);
}

TEST_CASE("an evaluation takes the pages of a request whose layers are coming, which then begins again") {
  LayeredEngine layered;
  FakeEngine& engine = layered.engine;
  layered.push_out_first();
  Gate gate;
  std::atomic<int> n_writes{0};
  engine.mover->before_write = [&] {
    if (n_writes++ == 1) gate.pass();
  };
  const auto restoring = engine.submit_raw(layered.asked(1));
  gate.wait_until_reached();
  std::thread opener([&] { gate.open(); });
  {
    Scheduler::Lock lock(engine.scheduler->mutex());
    const Scheduler::Turn turn(engine.scheduler.get(), &lock);
    Sequence evaluated(&engine.pages, engine.traits());
    engine.scheduler->reserve_at_any_price(&evaluated, 16 * 40, &lock);
    CHECK(evaluated.n_pages() == 40);
    evaluated.clear();
  }
  opener.join();
  CHECK(finish(engine, restoring).tokens == engine.expected(layered.asked(1)));
  engine.tiers().flush();
  check_free(engine);
}

TEST_CASE("requests whose layers come while pools of every size run out of pages give their tokens",
          "[threads]") {
  int64_t n_restored = 0;
  for (int64_t n_pages = 14; n_pages < 40; n_pages += 5) {
    INFO(n_pages << " pages");
    LayeredEngine layered(n_pages, 10 + 2 * n_pages);
    FakeEngine& engine = layered.engine;
    const int64_t lengths[] = {16, 47, 64, 100, 130};
    const SparseRule rules[] = {kDense, kThreshold, kNzRatioRow};
    std::vector<GenerateRequest> requests;
    for (int64_t i = 0; i < 90; ++i) {
      const Ids document = fake_ids(lengths[i % 5] + 16 * (i / 45), static_cast<uint64_t>(i % 10));
      requests.push_back(fake_request(document, 5 + 7 * (i % 7), rules[i % 3]));
    }
    std::vector<std::unique_ptr<Generation>> running;
    for (const GenerateRequest& request : requests) {
      running.push_back(engine.submit(request));
      if (running.size() % 30 == 0) running.back()->wait();
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const GenerateResult result = running[i]->wait();
      CHECK(result.tokens == engine.expected(requests[i]));
      CHECK(result.stats.n_prompt + result.stats.n_cached == static_cast<int64_t>(requests[i].prompt.size()));
    }
    engine.tiers().flush();
    check_free(engine);
    CHECK(engine.stats().n_finished == 90);
    n_restored += engine.stats().host_cache.restored_pages;
  }
  CHECK(n_restored > 0);
}

}  // namespace
}  // namespace seer
