// Brings pages back from the tiers into the pool.
#include <algorithm>
#include <atomic>
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

std::vector<TierKind> TieredPages::tiers_with(std::span<const PageName> names) {
  std::vector<TierKind> kinds;
  for (const PageName& name : names) {
    const std::optional<TierKind> kind = tier_with(name);
    if (!kind) break;
    kinds.push_back(*kind);
  }
  return kinds;
}

std::shared_ptr<RestoreJob> TieredPages::begin_restore(Request* request, Sequence* sequence, bool sparse,
                                                       int64_t chunk, Lock* lock) {
  if (!works_ || stopping_) return nullptr;
  const int64_t first = sequence->n_shared(), end = sequence->n_restorable();
  auto job = std::make_shared<RestoreJob>();
  for (int64_t i = first; i < end; ++i) job->names.push_back(sequence->name(i));
  lock->unlock();
  const std::vector<TierKind> kinds = tiers_with(job->names);
  lock->lock();
  wait_until_saved(lock);  // the saver may have begun a copy meanwhile
  if (!works_ || stopping_) return nullptr;
  job->names.resize(kinds.size());
  for (const TierKind kind : kinds) job->expected_s += choice_.restore_seconds(kind, mover_->record_bytes());
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
  const int64_t rest = (first + n) * options_.page_tokens,
                end_of_step = std::min(sequence->n_tokens(), rest + chunk);
  job->layers = layers_of(std::span(kinds).first(static_cast<size_t>(n)),
                          choice_.compute_seconds(rest, end_of_step, sparse));
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
  release_records(job);
}

void TieredPages::restore_loop() {
  Lock lock(scheduler_->mutex());
  for (;;) {
    restore_work_.wait(lock, [this] { return stopping_ || !restores_.empty(); });
    if (stopping_) return;
    // Jobs take turns, so that a long one does not stop the others. But a step may wait for one that has
    // started.
    auto next = std::find_if(restores_.begin(), restores_.end(), [](const auto& r) { return r->started(); });
    if (next == restores_.end()) next = restores_.begin();
    const std::shared_ptr<RestoreJob> job = *next;
    restores_.erase(next);
    try {
      job->layers ? restore_stage(*job, &lock) : restore_batch(*job, &lock);
      if (!job->ended) restores_.push_back(job);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      give_up(std::current_exception());
      if (job->layers) job->layers->arrivals->fail(std::current_exception());
      job->copying = false;
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

// Loads records, and keeps those before the first one that no tier can give.
void TieredPages::load(std::span<const PageName> names, Loaded* loaded) {
  const size_t bytes = static_cast<size_t>(mover_->record_bytes()), n = names.size();
  auto* const buffer = static_cast<std::byte*>(restore_buffer_.get());
  loaded->pages.resize(n);
  loaded->records.reserve(n);
  loaded->borrowed.reserve(n);
  std::atomic<size_t> first_missing{n};
  const auto begin = std::chrono::steady_clock::now();
  loaders_.run(static_cast<int64_t>(n), [&](int64_t index, int) {
    const auto i = static_cast<size_t>(index);
    if (i > first_missing) return;
    try {
      loaded->pages[i] = load_one(names[i], {buffer + i * bytes, bytes});
    } catch (...) {  // as if no tier had it
    }
    if (loaded->pages[i].record != nullptr) return;
    for (size_t seen = first_missing; i < seen && !first_missing.compare_exchange_weak(seen, i);) {
    }
  });
  loaded->load_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
  for (size_t i = 0; i < n; ++i) {
    const LoadedPage& page = loaded->pages[i];
    if (page.borrowed) loaded->borrowed.emplace_back(page.kind, names[i]);
    if (i < first_missing) loaded->records.push_back(page.record);
  }
}

TieredPages::LoadedPage TieredPages::load_one(const PageName& name, std::span<std::byte> room) {
  LoadedPage page;
  for (page.kind = 0; page.kind < kTierKinds; ++page.kind) {
    PageTier* const from = tier(page.kind);
    if (from == nullptr) continue;
    page.record = from->borrow(name);
    page.borrowed = page.record != nullptr;
    if (page.borrowed) return page;
    if (!from->has(name)) continue;
    if (from->load(name, room)) {
      page.record = room.data();
      return page;
    }
    page.failed[page.kind] = true;
  }
  return page;
}

// Copies the records to the job's next pages.
void TieredPages::copy_in(RestoreJob& job, const Loaded& loaded, Lock* lock) {
  for (const LoadedPage& page : loaded.pages)
    for (size_t kind = 0; kind < kTierKinds; ++kind) counts_[kind].failed_pages += page.failed[kind];
  copies_.wait(*lock, [this] { return n_waiting_ == 0; });
  const size_t n = loaded.records.size();
  if (job.ended || n == 0) return;  // the request has lost the pages, and others may have them
  const auto begin = std::chrono::steady_clock::now();
  copy(job, lock, [&] {
    mover_->write(std::span(job.pages).subspan(static_cast<size_t>(job.n_loaded), n), loaded.records);
  });
  const int64_t copy_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
  job.n_loaded += static_cast<int64_t>(n);
  count(loaded, copy_ns, &job);
}

// Calls write(), which writes the job's pages. Meanwhile the lock is released.
void TieredPages::copy(RestoreJob& job, Lock* lock, const std::function<void()>& write) {
  job.copying = true;
  ++n_copying_;
  lock->unlock();
  std::exception_ptr error;
  try {
    write();
  } catch (...) {
    error = std::current_exception();
  }
  lock->lock();
  job.copying = false;
  --n_copying_;
  copies_.notify_all();
  if (error) std::rethrow_exception(error);
}

// The time of the copy is divided among the tiers by how many of the pages came from each. So is the time of
// loading, but only among the tiers that do not keep records in memory.
void TieredPages::count(const Loaded& loaded, int64_t copy_ns, RestoreJob* job) {
  const auto n = static_cast<int64_t>(loaded.records.size());
  std::array<int64_t, kTierKinds> pages_of{};
  int64_t n_loaded = 0;  // not borrowed
  for (size_t i = 0; i < loaded.records.size(); ++i) {
    ++pages_of[loaded.pages[i].kind];
    n_loaded += loaded.pages[i].borrowed ? 0 : 1;
  }
  for (size_t kind = 0; kind < kTierKinds; ++kind) {
    const int64_t pages = pages_of[kind];
    if (pages == 0) continue;
    int64_t ns = copy_ns * pages / n;
    if (!tier(kind)->in_memory() && n_loaded > 0) ns += loaded.load_ns * pages / n_loaded;
    count(kind, pages, ns);
    job->pages_of[kind] += pages;
  }
}

void TieredPages::count(size_t kind, int64_t n_pages, int64_t ns) {
  const int64_t bytes = n_pages * mover_->record_bytes();
  choice_.restored(static_cast<TierKind>(kind), bytes, 1e-9 * static_cast<double>(ns));
  TierStats& counts = counts_[kind];
  counts.restored_pages += n_pages;
  counts.restored_tokens += n_pages * options_.page_tokens;
  counts.restored_bytes += bytes;
  counts.restore_ns += ns;
}

int64_t TieredPages::count_restored(const RestoreJob& job, int64_t n_pages,
                                    RestoreJob::Clock::time_point end) {
  const double compute = compute_seconds(job.first_token, n_pages, job.sparse);
  if (compute == 0.0 || n_pages == 0) return 0;
  const auto saved = static_cast<int64_t>(1e9 * compute) -
                     std::chrono::duration_cast<std::chrono::nanoseconds>(end - job.begin).count();
  saved_ns_ += saved;
  return saved;
}

}  // namespace seer
