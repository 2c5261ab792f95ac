// Brings pages back from the tiers into the pool.
#include <algorithm>
#include <optional>

#include "engine/src/request.h"
#include "engine/src/scheduler.h"
#include "engine/src/tiers/tiered_pages.h"

namespace seer {

std::optional<TierKind> TieredPages::tier_with(const PageName& name) {
  for (size_t kind = 0; kind < kTierKinds; ++kind)
    if (tier(kind) != nullptr && tier(kind)->has(name)) return static_cast<TierKind>(kind);
  return std::nullopt;
}

std::shared_ptr<RestoreJob> TieredPages::begin_restore(Request* request, Sequence* sequence, bool sparse) {
  if (!works_ || stopping_) return nullptr;
  const int64_t first = sequence->n_shared(), end = sequence->n_restorable();
  const int64_t bytes = mover_->record_bytes();
  auto job = std::make_shared<RestoreJob>();
  for (int64_t i = first; i < end; ++i) {
    const std::optional<TierKind> kind = tier_with(sequence->name(i));
    if (!kind) break;
    job->expected_s += choice_.restore_seconds(*kind, bytes);
    job->names.push_back(sequence->name(i));
  }
  if (job->names.empty()) return nullptr;
  job->first_token = first * options_.page_tokens;
  job->sparse = sparse;
  const auto n_found = static_cast<int64_t>(job->names.size());
  double seconds = job->expected_s;
  if (seconds > 0.0)
    for (const auto& other : restores_) seconds += other->rest_s();
  if (weighs_ && !choice_.pays(seconds, compute_seconds(job->first_token, n_found, sparse))) {
    refused_tokens_ += n_found * options_.page_tokens;
    return nullptr;
  }
  // If the pool has too few pages, as many are brought back as fit. Admission has made sure that all of them
  // fit, unless this request is alone.
  (void)sequence->reserve((first + n_found) * options_.page_tokens);
  const int64_t n = std::min(n_found, sequence->n_pages() - first);
  if (n == 0) return nullptr;
  job->names.resize(static_cast<size_t>(n));
  job->pages.assign(sequence->page_table() + first, sequence->page_table() + first + n);
  restores_.push_back(job);
  for (const int32_t page : job->pages) pages_->pin(page);
  job->request = request;
  job->begin = std::chrono::steady_clock::now();
  restore_work_.notify_one();
  return job;
}

void TieredPages::abandon(RestoreJob* job) {
  job->request = nullptr;
  if (!job->copying) release(*job);  // otherwise the thread does it after the copy
}

void TieredPages::release(RestoreJob& job) {
  if (job.ended) return;
  job.ended = true;
  job.end = std::chrono::steady_clock::now();
  for (const int32_t page : job.pages) pages_->unpin(page);
}

void TieredPages::restore_loop() {
  Lock lock(scheduler_->mutex());
  for (;;) {
    restore_work_.wait(lock, [this] { return stopping_ || !restores_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<RestoreJob> job = restores_.front();
    restores_.pop_front();
    try {
      restore_batch(*job, &lock);
      if (!job->ended) restores_.push_back(job);  // after the others, so that a long one does not stop them
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      give_up(std::current_exception());
      release(*job);
    }
    tell(*job);
  }
}

// Wakes those who wait for the job: the thread of a session that is alone, or the scheduler's.
void TieredPages::tell(const RestoreJob& job) {
  if (job.request == nullptr) return;
  job.request->changed->notify_all();
  scheduler_->signals()->work.notify_one();
}

void TieredPages::restore_batch(RestoreJob& job, Lock* lock) {
  if (job.ended) return;
  const auto all = static_cast<int64_t>(job.names.size()), first = job.n_loaded;
  const int64_t n = works_ ? std::min(all - first, static_cast<int64_t>(batch_pages())) : 0;
  lock->unlock();
  Loaded loaded;
  const Borrowed borrowed(this, loaded);
  load(std::span(job.names).subspan(static_cast<size_t>(first), static_cast<size_t>(n)), &loaded);
  lock->lock();
  {
    std::optional<Scheduler::Turn> turn;
    if (mover_->needs_turn() && !loaded.records.empty()) turn.emplace(scheduler_, lock);
    copy_in(job, loaded, lock);
  }
  if (static_cast<int64_t>(loaded.records.size()) < n || n == 0 || job.n_loaded == all ||
      job.request == nullptr)
    release(job);
}

TieredPages::Borrowed::~Borrowed() {
  for (const auto& [kind, name] : loaded_.borrowed) tiers_->tier(kind)->release_record(name);
}

// Loads records in order, and stops before the first one that no tier can give.
void TieredPages::load(std::span<const PageName> names, Loaded* loaded) {
  const auto bytes = static_cast<size_t>(mover_->record_bytes());
  auto* room = static_cast<std::byte*>(restore_buffer_.get());
  loaded->records.reserve(names.size());
  loaded->borrowed.reserve(names.size());
  for (const PageName& name : names) {
    if (!load_one(name, {room, bytes}, loaded)) return;
    room += bytes;
  }
}

bool TieredPages::load_one(const PageName& name, std::span<std::byte> room, Loaded* loaded) {
  for (size_t kind = 0; kind < kTierKinds; ++kind) {
    PageTier* const from = tier(kind);
    if (from == nullptr) continue;
    if (const std::byte* record = from->borrow(name)) {
      loaded->borrowed.emplace_back(kind, name);
      loaded->records.push_back(record);
      ++loaded->pages_of[kind];
      return true;
    }
    if (!from->has(name)) continue;
    const auto begin = std::chrono::steady_clock::now();
    const bool good = from->load(name, room);
    loaded->ns[kind] += std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
    if (!good) {
      ++loaded->failed[kind];
      continue;
    }
    loaded->records.push_back(room.data());
    ++loaded->pages_of[kind];
    return true;
  }
  return false;
}

// Copies the records to the job's next pages.
void TieredPages::copy_in(RestoreJob& job, const Loaded& loaded, Lock* lock) {
  for (size_t kind = 0; kind < kTierKinds; ++kind) counts_[kind].failed_pages += loaded.failed[kind];
  copies_.wait(*lock, [this] { return n_waiting_ == 0; });
  const size_t n = loaded.records.size();
  if (job.ended || n == 0) return;  // the request has lost the pages, and others may have them
  job.copying = true;
  ++n_copying_;
  lock->unlock();
  const auto begin = std::chrono::steady_clock::now();
  std::exception_ptr error;
  try {
    mover_->write(std::span(job.pages).subspan(static_cast<size_t>(job.n_loaded), n), loaded.records);
  } catch (...) {
    error = std::current_exception();
  }
  const int64_t copy_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
  lock->lock();
  job.copying = false;
  --n_copying_;
  copies_.notify_all();
  if (error) std::rethrow_exception(error);
  job.n_loaded += static_cast<int64_t>(n);
  count(loaded, copy_ns, &job);
}

// The time of the copy is divided among the tiers by how many of its pages came from each.
void TieredPages::count(const Loaded& loaded, int64_t copy_ns, RestoreJob* job) {
  const auto n = static_cast<int64_t>(loaded.records.size());
  for (size_t kind = 0; kind < kTierKinds; ++kind) {
    const int64_t pages = loaded.pages_of[kind], bytes = pages * mover_->record_bytes();
    const int64_t ns = loaded.ns[kind] + copy_ns * pages / n;
    choice_.restored(static_cast<TierKind>(kind), bytes, 1e-9 * static_cast<double>(ns));
    job->pages_of[kind] += pages;
    TierStats& counts = counts_[kind];
    counts.restored_pages += pages;
    counts.restored_tokens += pages * options_.page_tokens;
    counts.restored_bytes += bytes;
    counts.restore_ns += ns;
  }
}

int64_t TieredPages::count_restored(const RestoreJob& job) {
  const double compute = compute_seconds(job.first_token, job.n_loaded, job.sparse);
  if (compute == 0.0 || job.n_loaded == 0) return 0;
  const auto saved = static_cast<int64_t>(1e9 * compute) -
                     std::chrono::duration_cast<std::chrono::nanoseconds>(job.end - job.begin).count();
  saved_ns_ += saved;
  return saved;
}

}  // namespace seer
