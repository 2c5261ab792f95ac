// A path of attributes in a filter's argument: "address.city", "items.0".
#pragma once

#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

class AttributePath {
 public:
  // `attribute` is a string with dots, an integer, or none for the value itself.
  explicit AttributePath(const Value& attribute, Value fallback = {});
  Value of(const Value& item) const;

 private:
  std::vector<Value> parts_;
  Value fallback_;  // returned if a part of the path is undefined; a missing value if there is none
};

// Returns strings in lower case, and other values unchanged.
Value ignore_case(const Value& value);

}  // namespace seer::jinja
