// Checks the messages and tools of a chat, and puts them into the form that chat templates read.
#pragma once

#include "tools/seer/serve/json_fields.h"

namespace seer::serve {

// Return ChatInput's messages and tools from the request's values under these names; null means none. Both
// throw ApiError (400) that names the place. Values are released once they are read, so that a large chat is
// in memory once.
Json read_messages(Json messages);
Json read_tools(Json tools);

}  // namespace seer::serve
