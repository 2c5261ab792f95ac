// The tiers below the pool of pages: it saves full pages to them, and brings pages back, on two threads of
// its own. DESIGN.md in this folder explains who may do what when.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/src/prefix_cache.h"
#include "engine/src/sequence.h"
#include "engine/src/tiers/page_mover.h"
#include "engine/src/tiers/page_tier.h"
#include "engine/src/tiers/restore_choice.h"
#include "engine/src/tiers/restore_job.h"
#include "kernels/cpu/thread_pool.h"
#include "seer/generation.h"

namespace seer {

class Scheduler;

struct TierOptions {
  std::array<std::shared_ptr<PageTier>, kTierKinds> tiers;  // by TierKind; null: off
  PageFingerprint fingerprint;                              // what pages depend on besides tokens and rule
  int64_t page_tokens = 0;
  int64_t batch_bytes = int64_t{32} << 20;  // copied at a time, so that jobs take turns; at least one page
  // The host's tier gets pages before the pool evicts them. If fewer pages of the pool than this are empty,
  // the pages that are to be evicted next are copied: up to this many fresh ones, and as many kept ones.
  int64_t watermark_pages = 0;
  // So many threads load pages from a tier that does not keep records in memory, and as many others store
  // pages there.
  int storage_threads = 1;
  std::function<void(const std::string&)> warn;  // gets a sentence when the tiers are given up; may be empty
};

class TieredPages final : public PageSaver {
 public:
  using Lock = std::unique_lock<std::mutex>;

  // `pages` must outlive it, and so must what `mover` uses.
  TieredPages(PrefixCache* pages, std::unique_ptr<PageMover> mover, TierOptions options);
  ~TieredPages() override;
  // Starts the threads. The scheduler calls it in its constructor.
  void attach(Scheduler* scheduler);
  // Saves what is queued for the disk, for 30 seconds at most, and ends the threads. No request may be
  // running. Called by the scheduler's destructor, without the mutex.
  void stop();
  // Waits until nothing is queued to be saved. The caller must not have the turn.
  void flush();
  // From now on whatever is found is brought back, even if computing it seems to be faster. Whatever can come
  // layer by layer does, and steps may begin before the first layer is there. If `in_time` is false, a
  // request is then left out of steps with others until its layers are there. This is for tests, whose times
  // mean nothing. No request may be running.
  void restore_always(bool in_time = true) {
    weighs_ = false;
    always_in_time_ = in_time;
  }

  // ---- only under the scheduler's mutex ----

  PageName root(const PrefixKey& key) override;
  void filled(int32_t page, const PageName& name, const PageFacts& facts) override;
  // Looks for the pages after those that the request's sequence has, with the lock released, because a tier
  // may have to ask its storage. Begins to bring back what is found, if that pays. Returns null if nothing is
  // brought back. `chunk` is how many tokens of the request the next step can compute at most. The caller has
  // the turn.
  std::shared_ptr<RestoreJob> begin_restore(Request* request, Sequence* sequence, bool sparse, int64_t chunk,
                                            Lock* lock);
  // Says that a request has used the sequence's shared pages, so that tiers keep them longer than others.
  void used(Sequence* sequence) noexcept;
  // Must be called when the request of a job ends or loses its pages, before these are given back. Must also
  // be called when a step that waited for the job's pages has ended, because the request needs the job no
  // more. The caller has the turn, or no thread runs steps any more.
  void abandon(RestoreJob* job);
  // Copies hold references to pages for a few milliseconds. Returns false if no copy is under way. Otherwise
  // it waits for the copies with the lock released, and returns true; then no new copy has begun yet. The
  // caller has the turn.
  bool wait_for_copies(Lock* lock);
  // Must be called after each step that computed tokens [begin, end) of one prompt and nothing else.
  void computed(int64_t begin, int64_t end, bool sparse, double seconds) {
    choice_.computed(begin, end, sparse, seconds);
  }
  // Must be called before and after each step, by the caller who has the turn. Before a step that may evict
  // pages, before_step() waits until no page is being saved (see wait_until_saved()), with the lock released.
  void before_step(Lock* lock);
  void after_step();
  // Returns whether a step that computes tokens [begin, end) of the job's request is expected to find each
  // layer of the pages there in time. The pages must come layer by layer.
  bool in_time(const RestoreJob& job, int64_t begin, int64_t end) const;
  // Counts a job of which n_pages have come, the last one at `end`. Must be called once, when the request
  // learns that no more will come. Returns by how many nanoseconds the job was faster than computing, less
  // than 0 if it was slower, and 0 if the speed of computing is not known yet.
  int64_t count_restored(const RestoreJob& job, int64_t n_pages, RestoreJob::Clock::time_point end);
  void add_to(EngineStats* stats) const;  // adds what was counted

  // Adds how much the tiers hold. Without the mutex, because a tier may have to ask its storage.
  void add_sizes(EngineStats* stats) const;

 private:
  static constexpr auto kHost = static_cast<size_t>(TierKind::kHost);

  // What is known of a page of the pool that is cached and has a name.
  struct Filled {
    uint64_t serial = 0;  // of its caching; 0: nothing is known
    PageName name;
    PageFacts facts;
    std::array<bool, kTierKinds> settled{};  // by tier: nothing is left to do for it
  };
  // A page on its way to a tier.
  struct Saving {
    int32_t page;
    Filled filled;
    size_t kind;                  // of the tier
    double cost_s;                // of computing it again
    std::byte* record = nullptr;  // in the tier's memory or save_buffer_; null: no room, or it has the page
    bool kept = false;
  };

  // What was found of one page in the tiers.
  struct LoadedPage {
    // In restore_buffer_, or in the memory of a tier. Null if no tier has the page.
    const std::byte* record = nullptr;
    size_t kind = 0;                        // of the tier that had it
    bool borrowed = false;                  // from that tier's memory
    std::array<bool, kTierKinds> failed{};  // by tier: it has the page, but could not give it
  };
  struct Loaded {
    std::vector<LoadedPage> pages;                      // as many as were asked for
    std::vector<const std::byte*> records;              // of the leading pages that were found
    std::vector<std::pair<size_t, PageName>> borrowed;  // kinds of tiers, names
    int64_t load_ns = 0;                                // from the start to the end of loading
  };
  // Gives back what was borrowed.
  class Borrowed {
   public:
    Borrowed(TieredPages* tiers, const Loaded& loaded) : tiers_(tiers), loaded_(loaded) {}
    ~Borrowed();
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

   private:
    TieredPages* tiers_;
    const Loaded& loaded_;
  };

  PageTier* tier(size_t kind) const { return options_.tiers[kind].get(); }
  size_t batch_pages() const;
  bool still_there(int32_t page, uint64_t serial) const {
    return pages_->holds(page) && pages_->serial(page) == serial;
  }
  double compute_seconds(int64_t first_token, int64_t n_pages, bool sparse) const;
  void wait_until_saved(Lock* lock);

  // saving.cc
  void save_loop();
  bool wants_to_save() const {
    return works_ && !(queue_.empty() && to_evict_.empty() && uses_.empty() && !list_is_stale());
  }
  bool list_is_stale() const;
  void list_next_evicted();
  void save_some(Lock* lock);
  std::vector<Saving> next_to_save();
  void leave_out_kept(std::vector<Saving>* batch, Lock* lock);
  void tell_use(Lock* lock);
  void copy_out(std::vector<Saving>* batch, Lock* lock);
  void read(std::vector<Saving>* batch);
  void store(std::vector<Saving>* batch);
  void store(Saving* saving);
  void count_lost(const Filled& filled);

  // restoring_pages.cc
  std::optional<TierKind> tier_with(const PageName& name);
  std::vector<TierKind> tiers_with(std::span<const PageName> names);
  void restore_loop();
  void restore_batch(RestoreJob& job, Lock* lock);
  void load(std::span<const PageName> names, Loaded* loaded);
  LoadedPage load_one(const PageName& name, std::span<std::byte> room);
  void copy_in(RestoreJob& job, const Loaded& loaded, Lock* lock);
  void copy(RestoreJob& job, Lock* lock, const std::function<void()>& write);
  void count(const Loaded& loaded, int64_t copy_ns, RestoreJob* job);
  void count(size_t kind, int64_t n_pages, int64_t ns);
  void tell(const RestoreJob& job);
  void release(RestoreJob& job);
  void give_up(const std::exception_ptr& error) noexcept;

  // restoring_layers.cc
  bool in_time(const RestoreJob& job, double step_s) const;
  std::optional<RestoreLayers> layers_of(std::span<const TierKind> kinds, double next_step_s) const;
  void restore_stage(RestoreJob& job, Lock* lock);
  bool borrow_records(RestoreJob& job);
  void release_records(RestoreJob& job);

  PrefixCache* pages_;
  std::unique_ptr<PageMover> mover_;
  TierOptions options_;
  Scheduler* scheduler_ = nullptr;
  Buffer save_buffer_, restore_buffer_;  // each is used by one thread alone
  ThreadPool storers_, loaders_;         // likewise

  // The scheduler's mutex guards the rest.
  std::vector<Filled> filled_;                          // [n_pages]
  std::deque<std::pair<int32_t, uint64_t>> queue_;      // for the disk: pages and their serials
  std::vector<std::pair<int32_t, uint64_t>> to_evict_;  // for the host: the last one is evicted first
  uint64_t evict_changes_ = 0;                          // PrefixCache::n_changes() when it was made
  std::deque<std::vector<PageName>> uses_;              // chains of pages that requests have used
  std::deque<std::shared_ptr<RestoreJob>> restores_;
  RestoreChoice choice_;
  bool weighs_ = true;          // whether choice_ is asked
  bool always_in_time_ = true;  // the answer of in_time() if it is not
  std::array<TierStats, kTierKinds> counts_{};
  int64_t saved_ns_ = 0, refused_tokens_ = 0;
  // How many threads are copying pages now, and how many of these save pages.
  int n_copying_ = 0, n_saving_ = 0;
  int n_waiting_ = 0;  // calls of wait_for_copies() and wait_until_saved() that wait now; no copy may begin
  bool saving_ = false, stopping_ = false;
  bool works_ = true;  // false after the device, a rank or the memory has failed
  std::condition_variable save_work_, restore_work_, copies_, saved_;
  std::thread saver_, restorer_;
};

}  // namespace seer
