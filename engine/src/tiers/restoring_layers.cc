// Brings pages back layer by layer, so that a step may begin before the last layers are there.
#include <algorithm>

#include "engine/src/request.h"
#include "engine/src/tiers/tiered_pages.h"

namespace seer {
namespace {

// The copy of a shorter piece of a record takes longer to be started than PCIe needs for its bytes.
constexpr int64_t kLeastPieceBytes = int64_t{256} << 10;
constexpr int64_t kMostStages = 16;
// A shorter run comes in so little time that a step which begins earlier gains nothing.
constexpr int64_t kLeastRunBytes = int64_t{64} << 20;

constexpr auto kHost = static_cast<size_t>(TierKind::kHost);

}  // namespace

// Returns in how many stages a run of pages comes that are in tiers of these kinds. 1: one page comes after
// the other, because a page's layers cannot come apart, or it would not pay.
int64_t TieredPages::n_stages(std::span<const TierKind> kinds) const {
  const auto is_host = [](TierKind kind) { return kind == TierKind::kHost; };
  if (mover_->needs_turn() || !std::all_of(kinds.begin(), kinds.end(), is_host) || !tier(kHost)->in_memory())
    return 1;
  if (!weighs_) return mover_->n_layers();
  const int64_t record = mover_->record_bytes();
  if (static_cast<int64_t>(kinds.size()) * record < kLeastRunBytes) return 1;
  return std::clamp<int64_t>(record / kLeastPieceBytes, 1, std::min(kMostStages, mover_->n_layers()));
}

// Borrows the records of all pages. Returns false if the tier has evicted one meanwhile.
bool TieredPages::borrow_records(RestoreJob& job) {
  RestoreJob::Layers& layers = *job.layers;
  layers.records.reserve(job.names.size());
  for (const PageName& name : job.names) {
    const std::byte* const record = tier(kHost)->borrow(name);
    if (record == nullptr) return false;
    layers.records.push_back(record);
  }
  return true;
}

void TieredPages::release_records(RestoreJob& job) {
  if (!job.layers) return;
  for (size_t i = 0; i < job.layers->records.size(); ++i) tier(kHost)->release_record(job.names[i]);
  job.layers->records.clear();
}

void TieredPages::restore_stage(RestoreJob& job, Lock* lock) {
  if (job.ended) return;
  RestoreJob::Layers& layers = *job.layers;
  if (layers.records.empty()) {
    job.copying = true;  // so that abandon() leaves the records to this thread
    lock->unlock();
    const bool all = borrow_records(job);
    lock->lock();
    job.copying = false;
    if (!all) {
      release_records(job);
      job.layers.reset();  // one page comes after the other, as far as the tier has them
      return;
    }
    job.pages_of[kHost] = job.n_pages();
    layers.begin = RestoreJob::Clock::now();
    layers.may_start = !weighs_;
    tell(job);
  }
  copies_.wait(*lock, [this] { return n_waiting_ == 0; });
  if (job.ended) return;
  if (job.request == nullptr) return release(job);
  const int64_t n = mover_->n_layers(), begin = layers.n_done * n / layers.n_stages,
                end = (layers.n_done + 1) * n / layers.n_stages;
  const auto start = RestoreJob::Clock::now();
  copy(job, lock, [&] {
    mover_->write_layers(job.pages, layers.records, begin, end);
    layers.arrivals->arrived(end);
  });
  const auto now = RestoreJob::Clock::now();
  layers.copy_ns += std::chrono::nanoseconds(now - start).count();
  ++layers.n_done;
  if (layers.n_done == layers.n_stages) {
    job.n_loaded = job.n_pages();
    count(kHost, job.n_pages(), layers.copy_ns);
  } else if (RestoreChoice::in_time(layers.n_done, layers.n_stages,
                                    std::chrono::duration<double>(now - layers.begin).count(),
                                    layers.next_step_s)) {
    layers.may_start = true;
  }
  if (job.n_loaded == job.n_pages() || job.request == nullptr) release(job);
}

}  // namespace seer
