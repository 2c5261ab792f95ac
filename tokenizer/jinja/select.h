// Attributes named in filters' arguments: "address.city", "items.0".
#pragma once

#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

class AttributePath {
 public:
  // A string with dots, an integer, or none for the value itself.
  explicit AttributePath(const Value& attribute, Value fallback = {});
  Value of(const Value& item) const;

 private:
  std::vector<Value> parts_;
  Value fallback_;  // for what is undefined on the way; missing for none
};

// Strings in lower case, other values as they are.
Value ignore_case(const Value& value);

}  // namespace seer::jinja
