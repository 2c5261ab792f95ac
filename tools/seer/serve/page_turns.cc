#include "tools/seer/serve/page_turns.h"

#include <chrono>

#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr std::chrono::milliseconds kCheck(50);

}  // namespace

PageTurns::Generation::Generation(PageTurns* turns, const std::function<void()>& check) : turns_(turns) {
  std::unique_lock lock(turns_->mutex_);
  const auto may_run = [&] { return !turns_->map_is_alone_; };
  ++turns_->n_kept_waiting_;
  try {
    while (!turns_->map_ended_.wait_for(lock, kCheck, may_run)) {
      lock.unlock();
      check();
      lock.lock();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    --turns_->n_kept_waiting_;
    throw;
  }
  --turns_->n_kept_waiting_;
  ++turns_->n_generations_;
}

PageTurns::Generation::~Generation() {
  const std::lock_guard lock(turns_->mutex_);
  --turns_->n_generations_;
}

PageTurns::Map::Map(PageTurns* turns, bool alone) : turns_(turns) {
  const std::lock_guard lock(turns_->mutex_);
  if (turns_->has_map_)
    throw ApiError(kTooManyRequests, "another block map is being computed: try again later", "",
                   "block_map_busy");
  if (alone && turns_->n_generations_ + turns_->n_kept_waiting_ > 0)
    throw ApiError(
        kTooManyRequests,
        "generations are under way, which may need the KV pages that this block map takes: try again "
        "later, or start the server with a larger --pool-size",
        "", "block_map_busy");
  turns_->has_map_ = true;
  turns_->map_is_alone_ = alone;
}

PageTurns::Map::~Map() {
  const std::lock_guard lock(turns_->mutex_);
  turns_->has_map_ = turns_->map_is_alone_ = false;
  turns_->map_ended_.notify_all();
}

void PageTurns::Map::check() const {
  const std::lock_guard lock(turns_->mutex_);
  if (turns_->map_is_alone_ && turns_->n_kept_waiting_ > 0)
    throw ApiError(kUnavailable,
                   "this block map made way for a generation that may need its KV pages: try again later, or "
                   "start the server with a larger --pool-size",
                   "", "block_map_gave_way");
}

}  // namespace seer::serve
