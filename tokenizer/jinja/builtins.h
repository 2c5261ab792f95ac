// The functions that templates can use by name: filters, tests, methods and globals.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

class Interpreter;
struct Expr;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Sorts arguments by the names of the parameters. They are written as "old new count=", in which = marks a
// parameter that may be left out; if the list begins with "/", none may be given by name. Arguments that are
// absent are missing values. Throws a TypeError that begins with `what`.
std::vector<Value> sort_arguments(std::string_view parameters, Arguments arguments, const std::string& what);

using Bound = std::vector<Value>;
struct FilterEntry {
  std::string_view name;
  std::string_view parameters;  // without the value that is filtered
  Value (*apply)(Interpreter& interpreter, const Value& value, Bound& arguments);
  // Set for filters that take any arguments; `apply` is null then.
  Value (*apply_any)(Interpreter& interpreter, const Value& value, Arguments& arguments) = nullptr;
};
struct TestEntry {
  std::string_view name;
  std::string_view parameters;
  bool (*holds)(Interpreter& interpreter, const Value& value, Bound& arguments);
};

// Each returns null for an unknown name.
const FilterEntry* find_filter(std::string_view name);
const TestEntry* find_test(std::string_view name);
// Returns whether jinja2 has a filter of this name.
bool known_filter(std::string_view name);

Value call_filter(Interpreter& interpreter, const FilterEntry& filter, const Value& value,
                  Arguments arguments);
bool call_test(Interpreter& interpreter, const TestEntry& test, const Value& value, Arguments arguments);

// Throws for a call of a method that Python's types have and this interpreter does not.
void check_method(const Expr& callee, const std::string& template_name);

// Returns the function with that name, or a missing value if there is none.
Value global(std::string_view name);
Value call_global(Interpreter& interpreter, std::string_view name, Arguments arguments);

// Returns a method or another attribute, or a missing value if the type has no such attribute.
Value attribute_of(const Value& value, std::string_view name);
Value call_method(Interpreter& interpreter, const Function& method, Arguments arguments);
Value call_str_method(Interpreter& interpreter, const Function& method, Arguments arguments);

// These do the same as environment.getattr and environment.getitem of jinja2's sandbox.
Value get_attribute(const Value& value, const Value& name);
Value get_item(const Value& value, const Value& key);
Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step);

// Returns an integer as operator.index does. Throws a TypeError that names `what`.
int64_t index_of(const Value& value, const std::string& what);
const Text& string_of(const Value& value, const std::string& what);

}  // namespace seer::jinja
