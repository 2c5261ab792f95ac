// Dates as Python's datetime.strftime writes them in the C locale.
#pragma once

#include <ctime>

#include "tokenizer/jinja/text.h"

namespace seer::jinja {

// In the local time zone. What `format` says literally keeps its origin; numbers and names are the
// template's. Throws RenderError for a directive that the C library does not define.
Text format_time(const Text& format, std::time_t time);

}  // namespace seer::jinja
