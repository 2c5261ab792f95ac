// Requests and results between C and C++, for sessions and for what is submitted.
#pragma once

#include "engine/src/c_api/handles.h"

namespace seer::c_api {

seer_request default_request();
// Throws Error{kUsage}. `default_sampling` is for a request that names none.
GenerateRequest request_of(const seer_request& in, const SamplingParams& default_sampling);
// Points into `in`, whose vectors must not move while they are used.
ResultArrays arrays_of(const GenerateResult& in);
// Points into `in` and its arrays.
seer_result result_to_c(const GenerateResult& in, const ResultArrays& arrays);

}  // namespace seer::c_api
