// How one choice was computed, for clients that ask for `timings`.
#pragma once

#include <string>

#include "engine/base/json.h"
#include "tools/seer/serve/answer.h"

namespace seer::serve {

// What is known of a request before it is computed.
struct TimedRequest {
  bool wanted = false;        // whether the client asked for timings
  Clock::time_point start;    // the time of the request's first byte
  std::string sparse;         // the rule of its prompts
  std::string sparse_decode;  // the rule by which its tokens are decoded
};

// Returns the member `timings` of a choice that has ended, or null if it was not asked for.
OrderedJson timings_json(const TimedRequest& request, const RequestStats& stats, const ChoiceTimes& times);

}  // namespace seer::serve
