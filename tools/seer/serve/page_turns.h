// Decides when a block map may be computed. A map takes the KV pages of its whole prompt and cannot be
// pre-empted, so a generation that needs those pages would fail. Generations come first: a map that leaves
// too few pages for one runs only while there is none, and ends when one comes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

namespace seer::serve {

class PageTurns {
 public:
  // An object exists as long as the generations of one request run. If a map holds pages that they may need,
  // the constructor makes the map end, and waits for its end. It calls `check` every 50 ms meanwhile; errors
  // that `check` throws are passed on.
  class Generation {
   public:
    Generation(PageTurns* turns, const std::function<void()>& check);
    ~Generation();
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;

   private:
    PageTurns* turns_;
  };

  // An object exists as long as a map is computed, and there is at most one. If `alone` is true, generations
  // may need its pages. The constructor throws ApiError (429) if there is a map already, or if `alone` is
  // true and there are generations.
  class Map {
   public:
    Map(PageTurns* turns, bool alone);
    ~Map();
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;

    void check() const;  // throws ApiError (503) if the map must end

   private:
    PageTurns* turns_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable map_ended_;
  int64_t n_generations_ = 0;  // requests
  int64_t n_kept_waiting_ = 0;
  bool has_map_ = false, map_is_alone_ = false;
};

}  // namespace seer::serve
