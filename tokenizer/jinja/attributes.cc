// Attributes, items and slices.
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/macro.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {
namespace {

template <size_t N>
std::string_view listed(const std::string_view (&names)[N], std::string_view name) {
  const auto* it = std::find(std::begin(names), std::end(names), name);
  return it == std::end(names) ? std::string_view() : *it;
}

constexpr std::string_view kStrMethods[] = {
    "strip",        "split",        "startswith", "endswith", "replace", "lstrip",  "rstrip",
    "join",         "upper",        "lower",      "title",    "format",  "find",    "count",
    "splitlines",   "removeprefix", "capitalize", "rsplit",   "rfind",   "index",   "rindex",
    "removesuffix", "partition",    "rpartition", "isdigit",  "isalpha", "isalnum", "isdecimal",
    "isnumeric",    "isspace",      "isupper",    "islower",  "istitle", "isascii", "isprintable",
    "casefold",     "swapcase",     "center",     "ljust",    "rjust",   "zfill",   "expandtabs",
    "format_map",   "isidentifier"};
// Methods that Python's types have and this interpreter does not.
constexpr std::string_view kMissingMethods[] = {"encode", "maketrans", "translate"};
constexpr std::string_view kListMethods[] = {"index", "count", "copy"};
constexpr std::string_view kTupleMethods[] = {"index", "count"};
constexpr std::string_view kDictMethods[] = {"items", "get", "keys", "values", "copy", "fromkeys"};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kNumberAttributes[] = {
    "real",     "imag",       "numerator",        "denominator", "conjugate", "bit_length", "bit_count",
    "to_bytes", "from_bytes", "as_integer_ratio", "is_integer",  "hex",       "fromhex"};
// Attributes of every object, and of those with items.
constexpr std::string_view kInternal[] = {"__class__",        "__doc__",
                                          "__init__",         "__new__",
                                          "__repr__",         "__str__",
                                          "__hash__",         "__eq__",
                                          "__ne__",           "__lt__",
                                          "__le__",           "__gt__",
                                          "__ge__",           "__getattribute__",
                                          "__setattr__",      "__delattr__",
                                          "__dir__",          "__format__",
                                          "__sizeof__",       "__reduce__",
                                          "__reduce_ex__",    "__init_subclass__",
                                          "__subclasshook__", "__getstate__"};
constexpr std::string_view kInternalOfContainers[] = {
    "__len__",     "__contains__", "__getitem__", "__iter__", "__reversed__",     "__setitem__",
    "__delitem__", "__add__",      "__mul__",     "__or__",   "__class_getitem__"};

Value method(const Value& self, std::string_view name) {
  auto* function = new Function;
  function->name = name;
  Value value = make(Type::kFunction, function, 0, {&self});
  function->self = self;
  return value;
}

Value unsafe(const Value& value, std::string_view name) {
  Value undefined = Value::undefined("access to attribute '" + std::string(name) + "' of '" +
                                     type_name(value) + "' object is unsafe.");
  undefined.as<Undefined>().security = true;
  return undefined;
}

Value method_if(const Value& value, std::string_view listed_name) {
  return listed_name.empty() ? Value() : method(value, listed_name);
}

Value range_attribute(const Value& value, std::string_view name) {
  const auto& range = value.as<Range>();
  if (name == "start") return Value::integer(range.start);
  if (name == "stop") return Value::integer(range.stop);
  if (name == "step") return Value::integer(range.step);
  return method_if(value, listed(kTupleMethods, name));
}

Value item_or(const Value& item, const char* otherwise) {
  return item.missing() ? Value::undefined(otherwise) : item;
}

Value loop_attribute(const Value& value, std::string_view name) {
  auto& loop = value.as<Loop>();
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(loop.last());
  if (name == "length") return Value::integer(loop.length());
  if (name == "revindex") return Value::integer(loop.length() - loop.index0);
  if (name == "revindex0") return Value::integer(loop.length() - loop.index0 - 1);
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem")
    return loop.index0 == 0 ? Value::undefined("there is no previous item")
                            : item_or(loop.before, "there is no previous item");
  if (name == "nextitem") return item_or(loop.peek(), "there is no next item");
  if (name == "cycle") return method(value, "cycle");
  if (name == "changed") return method(value, "changed");
  return {};
}

Value macro_attribute(const Value& value, std::string_view name) {
  const MacroDef& def = *value.as<Macro>().def;
  if (name == "name") return def.name.empty() ? Value::none() : Value::string(def.name);
  if (name == "caller") return Value::boolean(def.caller_slot >= 0);
  if (name == "catch_kwargs") return Value::boolean(def.kwargs_slot >= 0);
  if (name == "catch_varargs") return Value::boolean(def.varargs_slot >= 0);
  if (name != "arguments") return {};
  std::vector<Value> names;
  for (const std::string& parameter : def.parameters) names.push_back(Value::string(parameter));
  return Value::tuple(std::move(names));
}

Value cycler_attribute(const Value& value, std::string_view name) {
  const auto& cycler = value.as<Cycler>();
  if (name == "current") return cycler.items[cycler.at];
  if (name == "pos") return Value::integer(static_cast<int64_t>(cycler.at));
  if (name == "next") return method(value, "next");
  if (name == "reset") return method(value, "reset");
  return {};
}

[[noreturn]] void refuse(const Value& value, std::string_view name) {
  fail(ErrorType::kUnsupported,
       "the attribute '" + std::string(name) + "' of '" + type_name(value) + "' objects is not supported");
}

bool internal(const Value& value, std::string_view name) {
  if (!name.starts_with('_') || value.is(Type::kNamespace)) return name == "__class__";
  return !listed(kInternal, name).empty() ||
         (has_length(value) && !listed(kInternalOfContainers, name).empty());
}

std::string describe_type(const Value& value) {
  return value.is(Type::kNone) ? "None" : type_name(value) + " object";
}

// Limits a bound of a slice as Python does.
int64_t slice_bound(const Value& value, int64_t fallback, int64_t low, int64_t high, int64_t size) {
  if (value.is(Type::kNone)) return fallback;
  if (!value.integral()) type_error("slice indices must be integers or None or have an __index__ method");
  int64_t at = value.as_int();
  if (at < 0) at = at < -size ? low : at + size;
  return std::clamp(at, low, high);
}

struct SliceRange {
  int64_t start, stop, step, count;
};

SliceRange slice_range(int64_t size, const Value& start, const Value& stop, const Value& step) {
  SliceRange range{0, 0, 1, 0};
  if (!step.is(Type::kNone)) {
    if (!step.integral()) type_error("slice indices must be integers or None or have an __index__ method");
    range.step = step.as_int();
    if (range.step == 0) fail(ErrorType::kValueError, "slice step cannot be zero");
    if (range.step == INT64_MIN) range.step = -INT64_MAX;
  }
  const bool forward = range.step > 0;
  const int64_t low = forward ? 0 : -1, high = forward ? size : size - 1;
  range.start = slice_bound(start, forward ? low : high, low, high, size);
  range.stop = slice_bound(stop, forward ? high : low, low, high, size);
  const int64_t span = forward ? range.stop - range.start : range.start - range.stop;
  const int64_t stride = forward ? range.step : -range.step;
  range.count = span <= 0 ? 0 : (span - 1) / stride + 1;
  return range;
}

Value slice_string(const Value& value, const SliceRange& range) {
  const auto& str = value.as<Str>();
  const Text& text = str.text;
  TextBuilder builder;
  if (range.step == 1 && range.count > 0) {
    const auto first = static_cast<size_t>(range.start),
               last = static_cast<size_t>(range.start + range.count);
    const size_t begin = str.ascii() ? first : byte_of_point(text.bytes, first);
    const size_t end = str.ascii() ? last : begin + byte_of_point(text.view().substr(begin), last - first);
    builder.append(text, begin, end);
  } else if (range.count > 0) {
    std::vector<size_t> starts;  // the byte at which each character begins
    for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) starts.push_back(at);
    Meter::step(static_cast<int64_t>(starts.size()));
    for (int64_t i = 0, at = range.start; i < range.count; ++i, at += range.step) {
      const size_t begin = starts[static_cast<size_t>(at)];
      builder.append(text, begin, begin + point_size(text.bytes[begin]));
    }
  }
  return Value::string(builder.take(), str.markup);
}

// Returns the item at a place, or a missing value if there is none or the key is of another type.
Value indexed_item(const Value& value, const Value& key) {
  if (!key.integral()) return {};
  const int64_t size = length_of(value);
  const int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
  if (at < 0 || at >= size) return {};
  if (value.sequence()) return value.items()[static_cast<size_t>(at)];
  if (value.is(Type::kRange)) return value.as<Range>().at(at);
  const auto& str = value.as<Str>();
  return character(
      value, str.ascii() ? static_cast<size_t>(at) : byte_of_point(str.text.bytes, static_cast<size_t>(at)));
}

// Returns obj[key], or a missing value if Python would raise a TypeError or LookupError.
Value plain_item(const Value& value, const Value& key) {
  switch (value.type()) {
    case Type::kUndefined:
      require_defined(value);
      return {};
    case Type::kDict: {
      if (key.is(Type::kList) || key.is(Type::kDict)) return {};
      const Value* item = value.as<Dict>().find(key);
      return item == nullptr ? Value() : *item;
    }
    case Type::kList:
    case Type::kTuple:
    case Type::kRange:
    case Type::kStr:
      return indexed_item(value, key);
    default:
      return {};
  }
}

}  // namespace

Value attribute_of(const Value& value, std::string_view name) {
  if (internal(value, name)) return unsafe(value, name);
  switch (value.type()) {
    case Type::kStr:
      if (!listed(kMissingMethods, name).empty()) refuse(value, name);
      return method_if(value, listed(kStrMethods, name));
    case Type::kList:
      if (!listed(kListChanges, name).empty()) return unsafe(value, name);
      return method_if(value, listed(kListMethods, name));
    case Type::kTuple:
      return method_if(value, listed(kTupleMethods, name));
    case Type::kDict:
      if (!listed(kDictChanges, name).empty()) return unsafe(value, name);
      return method_if(value, listed(kDictMethods, name));
    case Type::kRange:
      return range_attribute(value, name);
    case Type::kNamespace: {
      const Value* item = value.as<Namespace>().dict.as<Dict>().find(name);
      return item == nullptr ? Value() : *item;
    }
    case Type::kLoop:
      return loop_attribute(value, name);
    case Type::kMacro:
      return macro_attribute(value, name);
    case Type::kCycler:
      return cycler_attribute(value, name);
    case Type::kJoiner:
      return name == "sep"    ? value.as<Joiner>().separator
             : name == "used" ? Value::boolean(value.as<Joiner>().used)
                              : Value();
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
      if (!listed(kNumberAttributes, name).empty()) refuse(value, name);
      return {};
    case Type::kView:
      if (name == "mapping" || name == "isdisjoint") refuse(value, name);
      return {};
    default:
      return {};
  }
}

Value get_attribute(const Value& value, const Value& name) {
  require_defined(value);
  const std::string& text = name.text().bytes;
  Value attribute = attribute_of(value, text);
  if (!attribute.missing()) return attribute;
  if (value.is(Type::kDict)) {
    const Value* item = value.as<Dict>().find(std::string_view(text));
    if (item != nullptr) return *item;
  }
  return Value::undefined("'" + describe_type(value) + "' has no attribute '" + text + "'");
}

Value get_item(const Value& value, const Value& key) {
  Value item = plain_item(value, key);
  if (!item.missing()) return item;
  if (!key.is(Type::kStr)) {
    TextBuilder text;
    append_repr(&text, key);
    return Value::undefined(describe_type(value) + " has no element " + text.take().bytes);
  }
  Value attribute = attribute_of(value, key.text().view());
  if (!attribute.missing()) return attribute;
  return Value::undefined("'" + describe_type(value) + "' has no attribute " + in_quotes(key.text().view()));
}

Value get_slice(const Value& value, const Value& start, const Value& stop, const Value& step) {
  require_defined(value);
  if (!value.sequence() && !value.is(Type::kStr) && !value.is(Type::kRange)) {
    if (value.is(Type::kDict)) type_error("unhashable type: 'slice'");
    type_error("'" + type_name(value) + "' object is not subscriptable");
  }
  const SliceRange range = slice_range(length_of(value), start, stop, step);
  if (value.is(Type::kStr)) return slice_string(value, range);
  if (value.is(Type::kRange)) {
    const auto& whole = value.as<Range>();
    auto* part = new Range;
    Value result = make(Type::kRange, part, 0);
    part->start = whole.start + range.start * whole.step;
    part->stop = whole.start + range.stop * whole.step;
    part->step = whole.step * range.step;
    return result;
  }
  Meter::step(range.count);
  std::vector<Value> items;
  for (int64_t i = 0, at = range.start; i < range.count; ++i, at += range.step)
    items.push_back(value.items()[static_cast<size_t>(at)]);
  return value.is(Type::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

void check_method(const Expr& callee, const std::string& template_name) {
  if (callee.kind == ExprKind::kAttribute && !listed(kMissingMethods, callee.name).empty())
    not_supported(template_name, callee.line, "the method '" + callee.name + "'");
}

int64_t index_of(const Value& value, const std::string& what) {
  require_defined(value);
  if (!value.integral())
    type_error(what + ": '" + type_name(value) + "' object cannot be interpreted as an integer");
  return value.as_int();
}

const Text& string_of(const Value& value, const std::string& what) {
  if (!value.is(Type::kStr)) type_error(what + " must be str, not " + type_name(value));
  return value.text();
}

}  // namespace seer::jinja
