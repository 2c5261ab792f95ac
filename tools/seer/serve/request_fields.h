// The fields that both kinds of completions have.
#pragma once

#include <initializer_list>
#include <vector>

#include "tools/seer/serve/api_request.h"

namespace seer::serve {

// The lists of JsonFields::check_known, with a route's own fields.
std::vector<const char*> known_fields(std::initializer_list<const char*> own);
std::vector<JsonFields::Unsupported> unsupported_fields(std::vector<JsonFields::Unsupported> own);
// Fields of the API that change no answer here.
const std::vector<const char*>& ignored_fields();

void read_common(const JsonFields& fields, ApiRequest* request);
// After max_tokens is known.
void check_min_tokens(const ApiRequest& request);

constexpr int64_t kMaxLogprobs = 20;  // the API's, of a chat

}  // namespace seer::serve
