// Converts requests and results between C and C++, for sessions and for submitted requests.
#pragma once

#include "engine/src/c_api/handles.h"

namespace seer::c_api {

seer_request default_request();
// Throws Error{kUsage}. `default_sampling` is for a request that names none.
GenerateRequest request_of(const seer_request& in, const SamplingParams& default_sampling);
// The result points into the vectors of `in`, which must not move while it is used.
ResultArrays arrays_of(const GenerateResult& in);
// The result points into `in` and into `arrays`, which is arrays_of(in).
seer_result result_to_c(const GenerateResult& in, const ResultArrays& arrays);

}  // namespace seer::c_api
