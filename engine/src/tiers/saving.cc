// Copies full pages out of the pool, and stores them in the tiers.
#include <algorithm>
#include <chrono>
#include <optional>

#include "engine/src/scheduler.h"
#include "engine/src/tiers/tiered_pages.h"

namespace seer {
namespace {

// How long the engine's end waits until pages that are queued for the disk are written.
constexpr std::chrono::seconds kLastSaves(30);

constexpr auto kDisk = static_cast<size_t>(TierKind::kDisk);

}  // namespace

void TieredPages::filled(int32_t page, const PageName& name, const PageFacts& facts) {
  Filled& known = filled_[static_cast<size_t>(page)];
  count_lost(known);  // the page that was here has been evicted
  known = {pages_->serial(page), name, facts, {tier(kHost) == nullptr, tier(kDisk) == nullptr}};
  if (!works_ || stopping_ || known.settled[kDisk]) return;
  // An entry of an evicted page stays until the saver comes to it, so there may be more entries than pages.
  while (queue_.size() > 2 * filled_.size()) queue_.pop_front();
  queue_.emplace_back(page, known.serial);
  save_work_.notify_one();
}

void TieredPages::count_lost(const Filled& filled) {
  if (filled.serial == 0) return;
  for (size_t kind = 0; kind < kTierKinds; ++kind)
    if (!filled.settled[kind]) ++counts_[kind].lost_pages;
}

void TieredPages::used(Sequence* sequence) noexcept try {
  constexpr size_t kMostUses = 256;
  const int64_t n = sequence->n_shared();
  if (!works_ || n == 0) return;
  std::vector<PageName> chain;
  chain.reserve(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) chain.push_back(sequence->name(i));
  if (uses_.size() == kMostUses) uses_.pop_front();
  uses_.push_back(std::move(chain));
  save_work_.notify_one();
} catch (...) {  // no memory: the pages count as not used
}

// Pages are stored before their use is told, because a tier passes over pages that it does not have.
void TieredPages::tell_use(Lock* lock) {
  const std::vector<PageName> chain = std::move(uses_.front());
  uses_.pop_front();
  lock->unlock();
  for (const auto& tier : options_.tiers)
    if (tier) tier->used(chain);
  lock->lock();
}

// After most steps of decodes the list is what it was.
bool TieredPages::list_is_stale() const {
  return tier(kHost) != nullptr && works_ && !stopping_ && pages_->n_free() < options_.watermark_pages &&
         evict_changes_ != pages_->n_changes();
}

void TieredPages::list_next_evicted() {
  evict_changes_ = pages_->n_changes();
  to_evict_.clear();
  for (const int32_t page : pages_->next_evicted(options_.watermark_pages)) {
    const Filled& known = filled_[static_cast<size_t>(page)];
    if (known.serial == pages_->serial(page) && !known.settled[kHost])
      to_evict_.emplace_back(page, known.serial);
  }
  std::reverse(to_evict_.begin(), to_evict_.end());  // so that the page that goes first is the last one
}

void TieredPages::after_step() {
  if (!list_is_stale()) return;
  list_next_evicted();
  if (!to_evict_.empty()) save_work_.notify_one();
}

void TieredPages::before_step(Lock* lock) {
  if (tier(kHost) != nullptr && pages_->n_free() < options_.watermark_pages) wait_until_saved(lock);
}

void TieredPages::save_loop() {
  Lock lock(scheduler_->mutex());
  std::optional<std::chrono::steady_clock::time_point> last;
  for (;;) {
    save_work_.wait(lock, [this] { return stopping_ || wants_to_save(); });
    if (stopping_) {
      to_evict_.clear();  // the host's tier ends with this process
      const auto now = std::chrono::steady_clock::now();
      if (!last) last = now + kLastSaves;
      if (!wants_to_save() || now > *last) break;
    }
    saving_ = true;
    try {
      save_some(&lock);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      give_up(std::current_exception());
    }
    saving_ = false;
    if (!wants_to_save()) saved_.notify_all();
  }
  if (!queue_.empty() && works_ && options_.warn)
    options_.warn(std::to_string(queue_.size()) + " pages were not written to the disk cache in time");
}

void TieredPages::save_some(Lock* lock) {
  // Pages that were being copied, and those before them, were not in the last list.
  if (to_evict_.empty() && list_is_stale()) list_next_evicted();
  if (queue_.empty() && to_evict_.empty()) {
    if (!uses_.empty()) tell_use(lock);
    return;
  }
  std::vector<Saving> batch = next_to_save();
  leave_out_kept(&batch, lock);
  if (batch.empty()) return;
  {
    std::optional<Scheduler::Turn> turn;
    if (mover_->needs_turn()) turn.emplace(scheduler_, lock);
    copy_out(&batch, lock);
  }
  if (batch.empty()) return;
  lock->unlock();
  store(&batch);
  lock->lock();
  for (const Saving& saving : batch) {
    TierStats& counts = counts_[saving.kind];
    ++(saving.kept ? counts.saved_pages : counts.lost_pages);
  }
}

// Returns a batch of pages for which something is left to do. Those for the host's tier come first, because
// they are the next to be evicted.
std::vector<TieredPages::Saving> TieredPages::next_to_save() {
  std::vector<Saving> batch;
  const auto take = [&](int32_t page, uint64_t serial, size_t kind) {
    if (!still_there(page, serial)) return;  // it is counted as lost when its place is used again
    const Filled& known = filled_[static_cast<size_t>(page)];
    if (known.settled[kind]) return;
    batch.push_back({page, known, kind, compute_seconds(known.facts.first_token, 1, known.facts.sparse)});
  };
  while (batch.size() < batch_pages() && !to_evict_.empty()) {
    const auto [page, serial] = to_evict_.back();
    to_evict_.pop_back();
    take(page, serial, kHost);
  }
  while (batch.size() < batch_pages() && !queue_.empty()) {
    const auto [page, serial] = queue_.front();
    queue_.pop_front();
    take(page, serial, kDisk);
  }
  return batch;
}

// Pages that their tier has already leave the batch. The tiers are asked with the lock released.
void TieredPages::leave_out_kept(std::vector<Saving>* batch, Lock* lock) {
  lock->unlock();
  for (Saving& saving : *batch) saving.kept = tier(saving.kind)->has(saving.filled.name);
  lock->lock();
  for (const Saving& saving : *batch)
    if (saving.kept && still_there(saving.page, saving.filled.serial))
      filled_[static_cast<size_t>(saving.page)].settled[saving.kind] = true;
  std::erase_if(*batch, [](const Saving& saving) { return saving.kept; });
}

// Copies the batch's pages to records. Those that were evicted meanwhile leave the batch.
void TieredPages::copy_out(std::vector<Saving>* batch, Lock* lock) {
  copies_.wait(*lock, [this] { return n_waiting_ == 0; });
  std::erase_if(*batch, [this](const Saving& s) { return !still_there(s.page, s.filled.serial); });
  if (batch->empty()) return;
  for (const Saving& saving : *batch) {
    filled_[static_cast<size_t>(saving.page)].settled[saving.kind] = true;
    pages_->pin(saving.page);
  }
  ++n_copying_;
  ++n_saving_;
  lock->unlock();
  std::exception_ptr error;
  try {
    read(batch);
  } catch (...) {
    error = std::current_exception();
  }
  lock->lock();
  --n_copying_;
  --n_saving_;
  for (const Saving& saving : *batch) pages_->unpin(saving.page);
  copies_.notify_all();
  if (error) std::rethrow_exception(error);
}

// Pages for a tier that keeps records in memory are copied straight to the place where their records stay,
// all other pages to save_buffer_.
void TieredPages::read(std::vector<Saving>* batch) try {
  std::vector<int32_t> pages;
  std::vector<std::byte*> records;
  auto* buffer = static_cast<std::byte*>(save_buffer_.get());
  for (Saving& saving : *batch) {
    PageTier* const to = tier(saving.kind);
    if (to->in_memory()) {
      saving.record = to->begin_store(saving.filled.name, saving.cost_s);
      if (saving.record == nullptr) continue;
    } else {
      saving.record = buffer;
      buffer += mover_->record_bytes();
    }
    pages.push_back(saving.page);
    records.push_back(saving.record);
  }
  mover_->read(pages, records);
} catch (...) {
  for (const Saving& saving : *batch)
    if (saving.record != nullptr && tier(saving.kind)->in_memory())
      tier(saving.kind)->end_store(saving.filled.name, false);
  throw;
}

void TieredPages::store(std::vector<Saving>* batch) {
  storers_.run(static_cast<int64_t>(batch->size()), [&](int64_t i, int) {
    Saving& saving = (*batch)[static_cast<size_t>(i)];
    try {
      store(&saving);
    } catch (...) {  // no memory: the page is lost to the tier
    }
  });
}

void TieredPages::store(Saving* saving) {
  PageTier* const to = tier(saving->kind);
  const PageName& name = saving->filled.name;
  if (saving->record == nullptr) {
    saving->kept = to->has(name);
    return;
  }
  mover_->clear_unused(saving->record, saving->filled.facts.sparse);
  saving->kept =
      to->in_memory() ||
      to->store(name, {saving->record, static_cast<size_t>(mover_->record_bytes())}, saving->cost_s);
  if (to->in_memory()) to->end_store(name, true);
}

}  // namespace seer
