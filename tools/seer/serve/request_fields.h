// The request fields that completions and chats have in common.
#pragma once

#include <initializer_list>
#include <vector>

#include "tools/seer/serve/api_request.h"

namespace seer::serve {

// Return lists for JsonFields::check_known, extended by a route's own fields.
std::vector<const char*> known_fields(std::initializer_list<const char*> own);
std::vector<JsonFields::Unsupported> unsupported_fields(std::vector<JsonFields::Unsupported> own);
// Returns the fields of the API that change no answer here.
const std::vector<const char*>& ignored_fields();

void read_common(const JsonFields& fields, ApiRequest* request);
// Call it after max_tokens is known.
void check_min_tokens(const ApiRequest& request);

constexpr int64_t kMaxLogprobs = 20;  // the API's limit for a chat

}  // namespace seer::serve
