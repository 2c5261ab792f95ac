// Filters that read attributes, or apply other filters and tests to items.
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/select.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {

AttributePath::AttributePath(const Value& attribute, Value fallback) : fallback_(std::move(fallback)) {
  if (attribute.is(Type::kNone)) return;
  if (!attribute.is(Type::kStr)) {
    parts_.push_back(attribute);
    return;
  }
  const Text dot{".", {}};
  for (const Text& part : split(attribute.text(), &dot, -1)) {
    const bool digits =
        !part.bytes.empty() && part.bytes.size() < 18 &&
        std::all_of(part.bytes.begin(), part.bytes.end(), [](char c) { return c >= '0' && c <= '9'; });
    parts_.push_back(digits ? Value::integer(std::stoll(part.bytes)) : Value::string(part));
  }
}

Value AttributePath::of(const Value& item) const {
  Value value = item;
  for (const Value& part : parts_) {
    value = get_item(value, part);
    if (!fallback_.missing() && !fallback_.is(Type::kNone) && value.is(Type::kUndefined)) value = fallback_;
  }
  return value;
}

Value ignore_case(const Value& value) {
  if (!value.is(Type::kStr)) return value;
  return Value::string(map_case(value.text(), Case::kLower), value.as<Str>().markup);
}

namespace {

std::string name_of(const Value& value) {
  return value.is(Type::kStr) ? value.text().bytes : text_of(value).bytes;
}

Value take_named(Arguments* arguments, std::string_view name) {
  auto& named = arguments->named;
  const auto it = std::find_if(named.begin(), named.end(), [&](const auto& n) { return n.first == name; });
  if (it == named.end()) return {};
  Value value = std::move(it->second);
  named.erase(it);
  return value;
}

class MapIterator final : public Iterator {
 public:
  MapIterator(Interpreter* interpreter, const Value& value, Arguments arguments)
      : interpreter_(*interpreter), value_(value), arguments_(std::move(arguments)) {}

  bool next(Value* item) override {
    if (!begun_) begin();
    if (iterator_.missing()) return false;
    Meter::step();
    if (!iterator_.as<Iterator>().next(item)) return false;
    *item = filter_ != nullptr ? call_filter(interpreter_, *filter_, *item, arguments_) : path_[0].of(*item);
    return true;
  }

 private:
  void begin() {
    begun_ = true;
    if (!truthy(value_)) return;
    Value attribute = arguments_.positional.empty() ? take_named(&arguments_, "attribute") : Value();
    if (!attribute.missing()) {
      path_.emplace_back(attribute, take_named(&arguments_, "default"));
      if (!arguments_.named.empty())
        fail(ErrorType::kRuntimeError, "Unexpected keyword argument '" + arguments_.named[0].first + "'");
    } else {
      if (arguments_.positional.empty()) fail(ErrorType::kRuntimeError, "map requires a filter argument");
      const std::string name = name_of(arguments_.positional[0]);
      filter_ = find_filter(name);
      if (filter_ == nullptr)
        fail(known_filter(name) ? ErrorType::kUnsupported : ErrorType::kRuntimeError,
             known_filter(name) ? "the filter '" + name + "' is not supported"
                                : "No filter named '" + name + "'.");
      arguments_.positional.erase(arguments_.positional.begin());
    }
    iterator_ = iterator_of(value_);
  }

  Interpreter& interpreter_;
  Value value_, iterator_;
  Arguments arguments_;
  bool begun_ = false;
  const FilterEntry* filter_ = nullptr;
  std::vector<AttributePath> path_;
};

class SelectIterator final : public Iterator {
 public:
  SelectIterator(Interpreter* interpreter, const Value& value, Arguments arguments, bool by_attribute,
                 bool wanted)
      : interpreter_(*interpreter),
        value_(value),
        arguments_(std::move(arguments)),
        by_attribute_(by_attribute),
        wanted_(wanted) {}

  bool next(Value* item) override {
    if (!begun_) begin();
    if (iterator_.missing()) return false;
    while (Meter::step(), iterator_.as<Iterator>().next(item)) {
      const Value value = path_[0].of(*item);
      const bool holds =
          test_ != nullptr ? call_test(interpreter_, *test_, value, arguments_) : truthy(value);
      if (holds == wanted_) return true;
    }
    return false;
  }

 private:
  void begin() {
    begun_ = true;
    if (!truthy(value_)) return;
    auto& positional = arguments_.positional;
    Value attribute = Value::none();
    if (by_attribute_) {
      if (positional.empty()) fail(ErrorType::kRuntimeError, "Missing parameter for attribute name");
      attribute = positional[0];
      positional.erase(positional.begin());
    }
    path_.emplace_back(attribute);
    if (!positional.empty()) {
      const std::string name = name_of(positional[0]);
      test_ = find_test(name);
      // As jinja2 does, looks for the test only when the first item is wanted.
      iterator_ = iterator_of(value_);
      if (test_ == nullptr) check_unknown(name);
      positional.erase(positional.begin());
    }
    iterator_ = iterator_of(value_);
  }
  void check_unknown(const std::string& name) {
    Value item;
    if (iterator_.as<Iterator>().next(&item)) fail(ErrorType::kRuntimeError, "No test named '" + name + "'.");
  }

  Interpreter& interpreter_;
  Value value_, iterator_;
  Arguments arguments_;
  bool by_attribute_, wanted_, begun_ = false;
  const TestEntry* test_ = nullptr;
  std::vector<AttributePath> path_;
};

// Returns the iterator as a value. Its depth is computed from `value` and the arguments, which it holds.
Value held(Iterator* iterator, const Value& value, const Arguments& arguments) {
  Value all = Value::tuple(arguments.positional);
  return make_iterator(iterator, {&value, &all});
}

Value map_filter(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  return held(new MapIterator(&interpreter, value, arguments), value, arguments);
}

template <bool by_attribute, bool wanted>
Value select(Interpreter& interpreter, const Value& value, Arguments& arguments) {
  return held(new SelectIterator(&interpreter, value, arguments, by_attribute, wanted), value, arguments);
}

Value attr(Interpreter&, const Value& value, Bound& arguments) {
  const Text name = string_of(arguments[0], "attr(): attribute name");
  Value attribute = value.is(Type::kUndefined) ? Value() : attribute_of(value, name.bytes);
  require_defined(value);
  if (!attribute.missing()) return attribute;
  return Value::undefined("'" + type_name(value) + " object' has no attribute '" + name.bytes + "'");
}

Value group_by(Interpreter&, const Value& value, Bound& arguments) {
  const Value fallback = arguments[1].missing() ? Value::none() : arguments[1];
  const AttributePath path(arguments[0], fallback);
  const bool case_sensitive = !arguments[2].missing() && truthy(arguments[2]);
  std::vector<std::pair<Value, Value>> keyed;
  Each each(value);
  for (Value item; each.next(&item);) {
    Value key = path.of(item);
    keyed.emplace_back(case_sensitive ? std::move(key) : ignore_case(key), std::move(item));
  }
  std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) {
    Meter::step();
    return less(a.first, b.first);
  });
  std::vector<Value> groups;
  for (size_t i = 0; i < keyed.size();) {
    std::vector<Value> group;
    const size_t first = i;
    for (; i < keyed.size() && equal(keyed[i].first, keyed[first].first); ++i)
      group.push_back(keyed[i].second);
    Value key = case_sensitive ? keyed[first].first : path.of(group[0]);
    groups.push_back(Value::tuple({std::move(key), Value::list(std::move(group))}));
  }
  return Value::list(std::move(groups));
}

constexpr FilterEntry kSelectionFilters[] = {
    {"map", "", nullptr, map_filter},
    {"select", "", nullptr, select<false, true>},
    {"reject", "", nullptr, select<false, false>},
    {"selectattr", "", nullptr, select<true, true>},
    {"rejectattr", "", nullptr, select<true, false>},
    {"attr", "name", attr},
    {"groupby", "attribute default= case_sensitive=", group_by},
};

}  // namespace

FilterList selection_filters() { return {kSelectionFilters, std::size(kSelectionFilters)}; }

}  // namespace seer::jinja
