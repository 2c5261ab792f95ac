#include "tokenizer/jinja/builtins.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "tokenizer/jinja/filters.h"

namespace seer::jinja {
namespace {

// jinja2's filters that are not supported here.
constexpr std::string_view kNotBuilt[] = {"pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"};

const std::map<std::string_view, const FilterEntry*>& filters() {
  static const auto* all = [] {
    auto* map = new std::map<std::string_view, const FilterEntry*>;
    for (const FilterList& list : {text_filters(), number_filters(), sequence_filters(), selection_filters()})
      for (size_t i = 0; i < list.size; ++i) map->emplace(list.entries[i].name, &list.entries[i]);
    return map;
  }();
  return *all;
}

}  // namespace

const FilterEntry* find_filter(std::string_view name) {
  const auto it = filters().find(name);
  return it == filters().end() ? nullptr : it->second;
}

bool known_filter(std::string_view name) {
  return find_filter(name) != nullptr ||
         std::find(std::begin(kNotBuilt), std::end(kNotBuilt), name) != std::end(kNotBuilt);
}

Value call_filter(Interpreter& interpreter, const FilterEntry& filter, const Value& value,
                  Arguments arguments) {
  if (filter.apply_any != nullptr) return filter.apply_any(interpreter, value, arguments);
  Bound bound = sort_arguments(filter.parameters, std::move(arguments), std::string(filter.name));
  return filter.apply(interpreter, value, bound);
}

bool call_test(Interpreter& interpreter, const TestEntry& test, const Value& value, Arguments arguments) {
  Bound bound = sort_arguments(test.parameters, std::move(arguments), std::string(test.name));
  return test.holds(interpreter, value, bound);
}

}  // namespace seer::jinja
