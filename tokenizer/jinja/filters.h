// The filters by subject. builtins.h finds them by name.
#pragma once

#include <string_view>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/operators.h"

namespace seer::jinja {

struct FilterList {
  const FilterEntry* entries;
  size_t size;
};
FilterList text_filters();
FilterList number_filters();
FilterList sequence_filters();
FilterList selection_filters();

// Returns whether an argument is true. One that was left out is not.
inline bool flag(const Value& argument) { return !argument.missing() && truthy(argument); }

}  // namespace seer::jinja
