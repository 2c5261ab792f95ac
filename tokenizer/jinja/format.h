// Python's two ways of formatting: "%s" % value, and "{}".format(value).
#pragma once

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// `format` is a string; `values` a tuple, a dict or one value.
Value format_percent(const Value& format, const Value& values);
Value format_method(Interpreter& interpreter, const Value& format, bool from_mapping, Arguments arguments);
// Returns the result of Python's format(value, spec).
Text format_value(const Value& value, const Text& spec);

// Returns a number in the given base, with a sign if it is negative.
std::string in_base(int64_t value, int base, bool capitals);
// Formats as C's printf with one of e f g and their capitals. `precision` may be large.
std::string printf_float(double value, char conversion, int64_t precision, bool alternate);

}  // namespace seer::jinja
