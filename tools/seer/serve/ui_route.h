// GET /: the page for browsers, which asks the API as any other client does.
#pragma once

#include "tools/seer/serve/http/exchange.h"

namespace seer::serve {

void show_ui(Exchange& exchange);

}  // namespace seer::serve
