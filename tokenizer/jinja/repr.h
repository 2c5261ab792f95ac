// Python's notation of values: str, repr and json.dumps.
#pragma once

#include <string>
#include <string_view>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// str(value) and repr(value). They throw RenderError for a value that Python shows with an address.
void append_str(TextBuilder* out, const Value& value);
void append_repr(TextBuilder* out, const Value& value, int depth = 0);
Text text_of(const Value& value);
// Returns str(value). A string stays as it is, markup included.
Value soft_string(const Value& value);

std::string float_repr(double value);
// Returns the text with Python's quotes and escapes, for error messages.
std::string in_quotes(std::string_view text);

struct JsonOptions {
  bool ensure_ascii = false;
  bool indented = false;
  Text indent;  // of one level
  Text item_separator, key_separator;
  bool sort_keys = false;
};
void append_json(TextBuilder* out, const Value& value, const JsonOptions& options, int level = 0);

}  // namespace seer::jinja
