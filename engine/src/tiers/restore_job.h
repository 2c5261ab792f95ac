// A run of pages on its way from the tiers into the pool, for one request.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/src/tiers/page_name.h"
#include "engine/src/tiers/restore_choice.h"

namespace seer {

class Request;

// The scheduler's mutex guards all members but `names` and `pages`, which stay as they are.
struct RestoreJob {
  std::vector<PageName> names;
  // The pages of the pool that are to be filled. The job has a reference to each until `ended`, so that the
  // request may lose them meanwhile.
  std::vector<int32_t> pages;
  int64_t first_token = 0;  // of the first page
  bool sparse = false;      // whether the rule of their prompt is sparse
  double expected_s = 0.0;  // for the whole run; 0 if unknown

  Request* request = nullptr;         // null after the request has ended, or its pages were taken
  int64_t n_loaded = 0;               // leading pages that have their contents
  int64_t n_taken = 0;                // of these, the pages of which the request knows
  int64_t n_taken_of_host = 0;        // of these, the pages that came from the host's tier
  int64_t pages_of[kTierKinds] = {};  // of n_loaded, by the tier that had them
  bool copying = false;               // pages are being written now
  bool ended = false;                 // no further page will come
  std::chrono::steady_clock::time_point begin, end;

  double rest_s() const {
    const auto all = static_cast<double>(names.size());
    return ended ? 0.0 : expected_s * (all - static_cast<double>(n_loaded)) / all;
  }
  bool has_news() const { return n_loaded > n_taken || ended; }
};

}  // namespace seer
