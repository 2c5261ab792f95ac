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

// The scheduler's mutex guards the members of both structures, except those that do not change after the job
// was queued: RestoreJob's `names` and `pages`, and RestoreLayers' `n_stages`, `next_step_s` and `arrivals`.

// How the pages of a job come if they come layer by layer: each stage brings some layers of all pages. So a
// step that computes the rest of the prompt can begin before the last layers are there. The records are
// borrowed from the tier until the job has ended.
struct RestoreLayers {
  int64_t n_stages = 0;
  double next_step_s = 0.0;  // which the request's next step is expected to take; 0 if unknown
  std::shared_ptr<LayerArrivals> arrivals;

  int64_t n_done = 0;      // stages that have come
  int64_t copy_ns = 0;     // which their copies took
  bool may_start = false;  // if the next step begins now, it is expected to find each layer there in time
  bool started = false;    // the request counts the pages as computed, and its steps wait for `arrivals`
  int64_t n_counted = 0;   // tokens that the request's statistics count as cached because of them
  std::chrono::steady_clock::time_point begin;  // of the first stage
  // The records of the first n_borrowed of `names` are borrowed. Once all of them are, `records` lists them
  // in the order in which they lie in memory, and `pages` the page for each. While the job is `copying`, only
  // the thread that brings pages back may use these three members.
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

  Request* request = nullptr;         // null once the request has ended, lost its pages, or has all of them
  int64_t n_loaded = 0;               // leading pages that have their contents, in all layers
  int64_t n_taken = 0;                // leading pages of which the request knows
  int64_t n_taken_of_host = 0;        // of these, the pages that came from the host's tier
  int64_t pages_of[kTierKinds] = {};  // that have come or are coming now, by the tier that had them
  bool copying = false;               // pages are being written now, or records borrowed, without the mutex
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
