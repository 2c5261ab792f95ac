#include "engine/src/tiers/tiered_pages.h"

#include <algorithm>

#include "engine/src/scheduler.h"
#include "engine/src/start_thread.h"

namespace seer {

TieredPages::TieredPages(PrefixCache* pages, std::unique_ptr<PageMover> mover, TierOptions options)
    : pages_(pages),
      mover_(std::move(mover)),
      options_(std::move(options)),
      storers_(options_.storage_threads),
      loaders_(options_.storage_threads),
      filled_(static_cast<size_t>(pages->n_pages())) {
  const auto bytes = static_cast<int64_t>(batch_pages()) * mover_->record_bytes();
  save_buffer_ = mover_->allocate(bytes, "saving pages");
  restore_buffer_ = mover_->allocate(bytes, "bringing back pages");
}

TieredPages::~TieredPages() { stop(); }

void TieredPages::attach(Scheduler* scheduler) {
  scheduler_ = scheduler;
  saver_ = start_thread("that saves pages", [this] { save_loop(); });
  restorer_ = start_thread("that brings pages back", [this] { restore_loop(); });
}

void TieredPages::stop() {
  if (!saver_.joinable()) return;
  {
    const std::lock_guard lock(scheduler_->mutex());
    stopping_ = true;
    save_work_.notify_all();
    restore_work_.notify_all();
  }
  if (restorer_.joinable()) restorer_.join();  // it may have found no memory
  saver_.join();
}

void TieredPages::flush() {
  Lock lock(scheduler_->mutex());
  save_work_.notify_one();  // pages may have become evictable since the last step
  saved_.wait(lock, [this] { return !saving_ && !wants_to_save(); });
}

size_t TieredPages::batch_pages() const {
  // Rounded up, because a record of the 8B shape is a little larger than a quarter of 32 MiB.
  const int64_t record = mover_->record_bytes();
  return static_cast<size_t>((options_.batch_bytes + record - 1) / record);
}

double TieredPages::compute_seconds(int64_t first_token, int64_t n_pages, bool sparse) const {
  return choice_.compute_seconds(first_token, first_token + n_pages * options_.page_tokens, sparse);
}

PageName TieredPages::root(const PrefixKey& key) { return root_name(options_.fingerprint, key); }

bool TieredPages::wait_for_copies(Lock* lock) {
  if (n_copying_ == 0) return false;
  ++n_waiting_;
  copies_.wait(*lock, [this] { return n_copying_ == 0; });
  if (--n_waiting_ == 0) copies_.notify_all();  // copies may begin again, once the lock is free
  return true;
}

// Waits, with the lock released, until no page is being copied to a tier. Such a page cannot be evicted, and
// another one, which may not have been saved, would go in its place.
void TieredPages::wait_until_saved(Lock* lock) {
  if (n_saving_ == 0) return;
  ++n_waiting_;
  copies_.wait(*lock, [this] { return n_saving_ == 0; });
  if (--n_waiting_ == 0) copies_.notify_all();
}

// The device, a rank or the host's memory has failed. Requests go on without tiers; if the failure is one of
// the device or of a rank, the next step meets it too.
void TieredPages::give_up(const std::exception_ptr& error) noexcept {
  works_ = false;
  saved_.notify_all();
  try {
    if (options_.warn) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        options_.warn(std::string("pages are neither saved nor brought back any more: ") + e.what());
      }
    }
  } catch (...) {  // there was no memory for the message
  }
}

void TieredPages::add_to(EngineStats* stats) const {
  stats->host_cache = counts_[static_cast<size_t>(TierKind::kHost)];
  stats->disk_cache = counts_[static_cast<size_t>(TierKind::kDisk)];
  stats->restore_saved_ns = saved_ns_;
  stats->refused_tokens = refused_tokens_;
}

void TieredPages::add_sizes(EngineStats* stats) const {
  const auto add = [&](TierKind kind, TierStats* out) {
    const PageTier* of_kind = tier(static_cast<size_t>(kind));
    if (of_kind == nullptr) return;
    out->n_pages = of_kind->n_pages();
    out->n_bytes = of_kind->n_bytes();
  };
  add(TierKind::kHost, &stats->host_cache);
  add(TierKind::kDisk, &stats->disk_cache);
}

}  // namespace seer
