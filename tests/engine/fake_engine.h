// The scheduler with a stand-in for the model whose arithmetic is exact. If a page is filled wrongly, read
// too early or shared wrongly, all later tokens change.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/src/generation_impl.h"
#include "engine/src/scheduler.h"
#include "engine/src/tiers/tiered_pages.h"

namespace seer::testing {

using Ids = std::vector<int32_t>;

struct FakeStep {
  std::vector<int64_t> prefills;  // the number of tokens of each segment
  std::vector<const Request*> prefill_of, decode_of;
};

// A token's entry in its page is a hash of all entries before it, its id, and the rule that it was computed
// under. The next token is a hash of all entries.
class FakeRunner final : public StepRunner {
 public:
  FakeRunner(int64_t n_pages, int64_t page_tokens);
  void run(Batch* batch) override;
  void check() override {
    if (lost) throw Error(ErrorKind::kDevice, "a rank has ended");
  }

  // Makes steps wait until release(), so that a test can submit several requests for one step.
  void hold();
  void release();
  std::function<void(int64_t step)> before_step;  // may throw
  std::atomic<bool> lost{false};                  // if set, check() throws
  std::span<uint64_t> page(int32_t page) {
    return std::span(entries_).subspan(static_cast<size_t>(page * page_tokens_),
                                       static_cast<size_t>(page_tokens_));
  }
  std::vector<FakeStep> steps;       // complete once all requests have ended
  std::atomic<int64_t> n_waited{0};  // steps that began before all layers of their pages were there
  int64_t n_layers = 1;              // a step waits until the last one is there

 private:
  uint64_t& entry(const Segment& segment, int64_t position);
  uint64_t all_entries(const Segment& segment);
  void compute(const Batch& batch, const Segment& segment, const PrefillPlan* plan, const DecodeRule& decode);

  int64_t page_tokens_;
  std::vector<uint64_t> entries_;  // [n_pages, page_tokens]
  std::set<int32_t> written_;      // the pages written in this step
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
};

// Copies the entries of pages, and can be held like the runner.
class FakeMover final : public PageMover {
 public:
  FakeMover(FakeRunner* runner, int64_t page_tokens, bool needs_turn, int64_t n_layers)
      : runner_(runner), page_tokens_(page_tokens), needs_turn_(needs_turn), n_layers_(n_layers) {}
  int64_t record_bytes() const override { return page_tokens_ * static_cast<int64_t>(sizeof(uint64_t)); }
  bool needs_turn() const override { return needs_turn_; }
  void read(std::span<const int32_t> pages, std::span<std::byte* const> records) override;
  void write(std::span<const int32_t> pages, std::span<const std::byte* const> records) override;
  int64_t n_layers() const override { return n_layers_; }
  // A layer is a run of the page's tokens.
  void write_layers(std::span<const int32_t> pages, std::span<const std::byte* const> records, int64_t begin,
                    int64_t end) override;
  void clear_unused(std::byte*, bool) const override {}
  Buffer allocate(int64_t bytes, const std::string&) override;

  // Set them while nothing is copied; they may throw. A write of layers calls the second one too.
  std::function<void()> before_read, before_write;

 private:
  FakeRunner* runner_;
  int64_t page_tokens_;
  bool needs_turn_;
  int64_t n_layers_;
};

struct FakeOptions {
  int64_t page_tokens = 16;
  int64_t n_pages = 4096;
  int64_t chunk_size = 128;
  int64_t mixed_chunk_size = 32;
  int64_t max_batch_size = 16;
  bool prefix_cache = false;
  bool last_block_dense = true;
  bool positions_depend_on_length = false;
  std::chrono::milliseconds check_interval{0};
  std::shared_ptr<PageTier> host, disk;  // tiers below the pool; null: off
  bool copies_need_turn = false;         // as if there were several ranks
  int64_t n_layers = 1;                  // of a page, which the tiers can bring back one after the other
  int64_t batch_pages = 3;               // that the tiers' threads copy at a time
  int64_t watermark_pages = 8;           // see TierOptions, and the next one too
  int storage_threads = 1;
};

class FakeEngine {
 public:
  explicit FakeEngine(const FakeOptions& options = {});

  std::unique_ptr<Generation> submit(const GenerateRequest& request);
  std::shared_ptr<Request> submit_raw(const GenerateRequest& request);
  // Returns the tokens that a request gives if nothing is paged, batched or shared.
  Ids expected(const GenerateRequest& request) const;
  EngineStats stats() const { return scheduler->stats(); }
  PrefillTraits traits() const;

  TieredPages& tiers() { return *scheduler->tiers(); }
  RequestSetup setup(const GenerateRequest& request) const;

  FakeOptions options;
  FakeRunner runner;
  PrefixCache pages;
  FakeMover* mover = nullptr;  // null if there are no tiers
  std::unique_ptr<Scheduler> scheduler;
};

GenerateRequest fake_request(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule = {});
// Returns n ids; another seed gives another list.
Ids fake_ids(int64_t n, uint64_t seed);

}  // namespace seer::testing
