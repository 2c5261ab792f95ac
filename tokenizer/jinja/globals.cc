// The functions that every template can call.
#include <ctime>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strftime.h"

namespace seer::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // jinja2's sandbox allows no more

Value call_range(Interpreter&, Arguments arguments) {
  Bound bound = sort_arguments("/start stop= step=", std::move(arguments), "range()");
  auto* range = new Range;
  Value value = make(Type::kRange, range, 0);
  range->stop = index_of(bound[0], "range()");
  if (!bound[1].missing()) {
    range->start = range->stop;
    range->stop = index_of(bound[1], "range()");
  }
  if (!bound[2].missing()) range->step = index_of(bound[2], "range()");
  if (range->step == 0) fail(ErrorType::kValueError, "range() arg 3 must not be zero");
  if (range->size() > kMaxRange)
    fail(ErrorType::kArithmeticError,
         "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  return value;
}

// dict(mapping or pairs, **more)
Value call_dict(Interpreter&, Arguments arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (arguments.positional.size() > 1)
    type_error("dict expected at most 1 argument, got " + std::to_string(arguments.positional.size()));
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    require_defined(from);
    if (from.is(Type::kDict)) {
      items = from.as<Dict>().items;
    } else {
      for (const Value& pair : items_of(from)) {
        std::vector<Value> two =
            items_of(pair, "cannot convert dictionary update sequence element to a sequence");
        if (two.size() != 2)
          fail(ErrorType::kValueError, "dictionary update sequence element has length " +
                                           std::to_string(two.size()) + "; 2 is required");
        items.emplace_back(std::move(two[0]), std::move(two[1]));
      }
    }
  }
  for (auto& [name, value] : arguments.named) items.emplace_back(Value::string(name), std::move(value));
  return make_dict(std::move(items));
}

Value call_namespace(Interpreter& interpreter, Arguments arguments) {
  Value dict = call_dict(interpreter, std::move(arguments));
  for (const auto& [key, value] : dict.as<Dict>().items)
    if (key.is(Type::kStr) && !key.text().bytes.empty() && key.text().bytes[0] == '_')
      fail(ErrorType::kSecurityError,
           "Chat templates cannot store underscore-prefixed attributes on a namespace, but got " +
               in_quotes(key.text().view()) + ". Please rename the attribute.");
  return interpreter.make_namespace(std::move(dict));
}

Value call_raise(Interpreter&, Arguments arguments) {
  const Bound bound = sort_arguments("message", std::move(arguments), "raise_exception()");
  fail(ErrorType::kRaised, text_of(bound[0]).bytes);
}

Value call_strftime(Interpreter& interpreter, Arguments arguments) {
  const Bound bound = sort_arguments("format", std::move(arguments), "strftime_now()");
  return Value::string(format_time(string_of(bound[0], "strftime() argument 1"), interpreter.now()));
}

Value call_cycler(Interpreter&, Arguments arguments) {
  if (!arguments.named.empty()) type_error("Cycler() takes no keyword arguments");
  if (arguments.positional.empty()) fail(ErrorType::kRuntimeError, "at least one item has to be provided");
  auto* cycler = new Cycler;
  const Value items = Value::tuple(std::move(arguments.positional));
  Value value = make(Type::kCycler, cycler, 0, {&items});
  cycler->items = items.items();
  return value;
}

Value call_joiner(Interpreter&, Arguments arguments) {
  Bound bound = sort_arguments("sep=", std::move(arguments), "Joiner()");
  auto* joiner = new Joiner;
  Value separator = bound[0].missing() ? Value::string(", ") : bound[0];
  Value value = make(Type::kJoiner, joiner, 0, {&separator});
  joiner->separator = std::move(separator);
  return value;
}

struct GlobalEntry {
  std::string_view name;
  Value (*call)(Interpreter& interpreter, Arguments arguments);
};
constexpr GlobalEntry kGlobals[] = {
    {"range", call_range},   {"namespace", call_namespace},   {"raise_exception", call_raise},
    {"dict", call_dict},     {"strftime_now", call_strftime}, {"cycler", call_cycler},
    {"joiner", call_joiner},
};

const GlobalEntry* find_global(std::string_view name) {
  for (const GlobalEntry& entry : kGlobals)
    if (entry.name == name) return &entry;
  return nullptr;
}

}  // namespace

Value global(std::string_view name) {
  const GlobalEntry* entry = find_global(name);
  if (entry == nullptr) return {};
  auto* function = new Function;
  function->name = entry->name;
  return make(Type::kFunction, function, 0);
}

Value call_global(Interpreter& interpreter, std::string_view name, Arguments arguments) {
  return find_global(name)->call(interpreter, std::move(arguments));
}

}  // namespace seer::jinja
