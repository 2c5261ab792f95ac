// Renders a template in one call.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/tokenizer/error_of.h"
#include "tokenizer/jinja/template.h"

namespace seer::testing {

using OrderedValue = nlohmann::ordered_json;

inline std::string render(const std::string& source, const OrderedValue& messages = {},
                          const OrderedValue& files = {}) {
  return jinja::Template::parse(source, "t").render(files, messages).text;
}

inline std::string render_error(const std::string& source, const OrderedValue& messages = {}) {
  return error_of([&] { render(source, messages); });
}

}  // namespace seer::testing
