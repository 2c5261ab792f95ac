// A run of pages on its way from the tiers into the pool, for one request.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/src/tiers/layer_arrivals.h"
#include "engine/src/tiers/page_name.h"
#include "engine/src/tiers/restore_choice.h"

namespace seer {

class Request;

// The scheduler's mutex guards the members of both structures, except those that stay as they are once the
// job is under way: `names`, `pages`, `n_stages`, `next_step_s` and `arrivals`.

// All pages come at the same time, some of their layers in each stage. So a step that computes the rest of
// the prompt can begin before the last layers are there. The tier keeps the records until the job has ended.
struct RestoreLayers {
  int64_t n_stages = 0;
  double next_step_s = 0.0;  // that the request's next step is expected to take; 0 if unknown
  std::shared_ptr<LayerArrivals> arrivals;

  int64_t n_done = 0;      // stages
  int64_t copy_ns = 0;     // of all stages that are done
  bool may_start = false;  // that step is expected to find the other layers in time
  bool started = false;    // the request has taken the pages, and its steps wait for `arrivals`
  std::chrono::steady_clock::time_point begin;  // of the first stage
  // Of the first n_borrowed pages by name, once all of them are borrowed in the order in which they lie in
  // memory. Only the thread that copies may use them while the job is `copying`.
  size_t n_borrowed = 0;
  std::vector<const std::byte*> records;
  std::vector<int32_t> pages;
};

struct RestoreJob {
  using Clock = std::chrono::steady_clock;

  std::vector<PageName> names;
  // The pages of the pool that are to be filled. The job has a reference to each until `ended`, so that the
  // request may lose them meanwhile.
  std::vector<int32_t> pages;
  int64_t first_token = 0;              // of the first page
  bool sparse = false;                  // whether the rule of their prompt is sparse
  double expected_s = 0.0;              // for the whole run; 0 if unknown
  std::optional<RestoreLayers> layers;  // absent if one page comes after the other

  Request* request = nullptr;         // null after the request has ended, or its pages were taken
  int64_t n_loaded = 0;               // leading pages that have their contents, in all layers
  int64_t n_taken = 0;                // leading pages of which the request knows
  int64_t n_taken_of_host = 0;        // of these, the pages that came from the host's tier
  int64_t pages_of[kTierKinds] = {};  // that have come or are coming now, by the tier that had them
  bool copying = false;               // pages are being written now
  bool ended = false;                 // no further page will come
  Clock::time_point begin, end;

  int64_t n_pages() const { return static_cast<int64_t>(names.size()); }
  double rest_s() const {
    if (ended) return 0.0;
    const double done = layers ? static_cast<double>(layers->n_done) / static_cast<double>(layers->n_stages)
                               : static_cast<double>(n_loaded) / static_cast<double>(n_pages());
    return expected_s * (1.0 - done);
  }
  bool started() const { return layers && layers->started; }
  bool has_news() const {
    return ended || n_loaded > n_taken || (layers && layers->may_start && !layers->started);
  }
};

}  // namespace seer
