// The messages and tools of a chat, checked, and put into the form that chat templates read.
#pragma once

#include "tools/seer/serve/json_fields.h"

namespace seer::serve {

// ChatInput's messages and tools. Both throw ApiError (400) that names the place.
Json read_messages(const JsonFields& fields);
Json read_tools(const JsonFields& fields);

}  // namespace seer::serve
