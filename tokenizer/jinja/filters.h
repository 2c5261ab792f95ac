// The filters by subject. builtins.h finds them by name.
#pragma once

#include <string_view>

#include "tokenizer/jinja/builtins.h"

namespace seer::jinja {

struct FilterList {
  const FilterEntry* entries;
  size_t size;
};
FilterList text_filters();
FilterList number_filters();
FilterList sequence_filters();
FilterList selection_filters();

}  // namespace seer::jinja
