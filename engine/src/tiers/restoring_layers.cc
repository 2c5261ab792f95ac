// Brings pages back layer by layer, so that a step may begin before the last layers are there.
#include <algorithm>
#include <utility>

#include "engine/src/request.h"
#include "engine/src/tiers/tiered_pages.h"

namespace seer {
namespace {

// To start the copy of a shorter piece of a record takes longer than PCIe needs to move the piece.
constexpr int64_t kLeastPieceBytes = int64_t{256} << 10;
constexpr int64_t kMostStages = 16;
// A run of fewer bytes comes so fast that a step gains nothing if it begins earlier.
constexpr int64_t kLeastRunBytes = int64_t{64} << 20;
// To copy pieces of records, while a step runs, is slower than to copy whole records. If the step takes less
// than this part of the time of the copies, this costs more than is gained because the step begins early.
// DESIGN.md has the times.
constexpr double kLeastStep = 0.1;

}  // namespace

// Returns how a run of pages comes layer by layer; `kinds` are the tiers that have them. Absent if whole
// pages are to come one after the other, because layers cannot be copied by themselves, or because whole
// pages are faster.
std::optional<RestoreLayers> TieredPages::layers_of(std::span<const TierKind> kinds,
                                                    double next_step_s) const {
  const auto is_host = [](TierKind kind) { return kind == TierKind::kHost; };
  if (mover_->needs_turn() || !std::all_of(kinds.begin(), kinds.end(), is_host) || !tier(kHost)->in_memory())
    return std::nullopt;
  RestoreLayers layers;
  layers.n_stages = mover_->n_layers();
  if (weighs_) {
    const int64_t record = mover_->record_bytes(), bytes = static_cast<int64_t>(kinds.size()) * record;
    layers.n_stages = std::min({layers.n_stages, kMostStages, record / kLeastPieceBytes});
    const double copies_s = choice_.restore_seconds(TierKind::kHost, bytes);
    if (bytes < kLeastRunBytes || copies_s == 0.0 || next_step_s < kLeastStep * copies_s) return std::nullopt;
  }
  if (layers.n_stages < 2) return std::nullopt;
  layers.next_step_s = next_step_s;
  layers.arrivals = std::make_shared<LayerArrivals>(mover_->n_layers());
  return layers;
}

// Borrows the records of all pages. Returns false if the tier has evicted one meanwhile.
bool TieredPages::borrow_records(RestoreJob& job) {
  RestoreLayers& layers = *job.layers;
  std::vector<std::pair<const std::byte*, int32_t>> found;
  found.reserve(job.names.size());
  for (; layers.n_borrowed < job.names.size(); ++layers.n_borrowed) {
    const std::byte* const record = tier(kHost)->borrow(job.names[layers.n_borrowed]);
    if (record == nullptr) return false;
    found.emplace_back(record, job.pages[layers.n_borrowed]);
  }
  std::sort(found.begin(), found.end());  // records that lie one after the other are copied at once
  for (const auto& [record, page] : found) {
    layers.records.push_back(record);
    layers.pages.push_back(page);
  }
  return true;
}

void TieredPages::release_records(RestoreJob& job) {
  if (!job.layers) return;
  for (; job.layers->n_borrowed > 0; --job.layers->n_borrowed)
    tier(kHost)->release_record(job.names[job.layers->n_borrowed - 1]);
}

bool TieredPages::in_time(const RestoreJob& job, double step_s) const {
  const RestoreLayers& layers = *job.layers;
  const std::chrono::duration<double> so_far = RestoreJob::Clock::now() - layers.begin;
  return weighs_ ? RestoreChoice::in_time(layers.n_done, layers.n_stages, so_far.count(), step_s)
                 : always_in_time_;
}

bool TieredPages::in_time(const RestoreJob& job, int64_t begin, int64_t end) const {
  return in_time(job, choice_.compute_seconds(begin, end, job.sparse));
}

void TieredPages::restore_stage(RestoreJob& job, Lock* lock) {
  if (job.ended) return;
  RestoreLayers& layers = *job.layers;
  if (layers.records.empty()) {
    bool all = false;
    copy(job, lock, [&] { all = borrow_records(job); });
    if (job.request == nullptr) return release(job);
    if (!all) {
      release_records(job);
      job.layers.reset();  // whole pages come one after the other, up to the first that no tier has
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
    mover_->write_layers(layers.pages, layers.records, begin, end);
    layers.arrivals->arrived(end);
  });
  const auto now = RestoreJob::Clock::now();
  layers.copy_ns += std::chrono::nanoseconds(now - start).count();
  ++layers.n_done;
  if (layers.n_done == layers.n_stages) {
    job.n_loaded = job.n_pages();
    count(kHost, job.n_pages(), layers.copy_ns);
  } else if (in_time(job, layers.next_step_s)) {
    layers.may_start = true;
  }
  if (job.n_loaded == job.n_pages() || job.request == nullptr) release(job);
}

}  // namespace seer
