// Dates in the form that Python's datetime.strftime writes in the C locale.
#pragma once

#include <ctime>

#include "tokenizer/jinja/text.h"

namespace seer::jinja {

// Formats a time in the local time zone. Literal text of `format` keeps its origin; numbers and names count
// as the template's. Throws RenderError for a directive that the C library does not define.
Text format_time(const Text& format, std::time_t time);

}  // namespace seer::jinja
