// The messages and tools of a chat, checked, and put into the form that chat templates read.
#pragma once

#include "tools/seer/serve/json_fields.h"

namespace seer::serve {

// ChatInput's messages and tools, of what the request has under these names; null: nothing. Both throw
// ApiError (400) that names the place. What has been read is released on the way, so that a large chat is
// there once.
Json read_messages(Json messages);
Json read_tools(Json tools);

}  // namespace seer::serve
