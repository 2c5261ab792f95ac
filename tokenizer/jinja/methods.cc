// Methods of lists, tuples, dicts, ranges and cyclers, and the assignment of arguments to parameters.
#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {
namespace {

struct Parameter {
  std::string_view name;
  bool optional;
};

std::vector<Parameter> parse_parameters(std::string_view list) {
  std::vector<Parameter> parameters;
  while (!list.empty()) {
    const size_t space = std::min(list.find(' '), list.size());
    std::string_view name = list.substr(0, space);
    list.remove_prefix(std::min(space + 1, list.size()));
    const bool optional = name.back() == '=';
    if (optional) name.remove_suffix(1);
    parameters.push_back({name, optional});
  }
  return parameters;
}

int64_t count_in(const Value& self, const Value& item) {
  int64_t n = 0;
  Each each(self);
  for (Value other; each.next(&other);) n += equal(other, item) || identical(other, item) ? 1 : 0;
  return n;
}

Value index_in(const Value& self, const Bound& arguments) {
  const int64_t size = length_of(self);
  const auto bound = [&](const Value& value, int64_t fallback) {
    if (value.missing()) return fallback;
    const int64_t at = index_of(value, "index()");
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const int64_t start = bound(arguments[1], 0), stop = bound(arguments[2], size);
  Each each(self);
  int64_t at = 0;
  for (Value other; each.next(&other) && at < stop; ++at)
    if (at >= start && (equal(other, arguments[0]) || identical(other, arguments[0])))
      return Value::integer(at);
  fail(ErrorType::kValueError, "the value is not in the " + type_name(self));
}

Value view(const Value& dict, ViewKind kind) {
  auto* rep = new View;
  Value value = make(Type::kView, rep, 0, {&dict});
  rep->kind = kind;
  rep->dict = dict;
  return value;
}

Value call_dict_method(const Function& method, Arguments arguments) {
  const Value& self = method.self;
  const std::string what = "dict." + std::string(method.name) + "()";
  if (method.name == "get") {
    Bound bound = sort_arguments("/key default=", std::move(arguments), what);
    const Value* item = self.as<Dict>().find(bound[0]);
    if (item != nullptr) return *item;
    return bound[1].missing() ? Value::none() : bound[1];
  }
  if (method.name == "fromkeys") {
    Bound bound = sort_arguments("/iterable value=", std::move(arguments), what);
    std::vector<std::pair<Value, Value>> items;
    for (Value& key : items_of(bound[0]))
      items.emplace_back(std::move(key), bound[1].missing() ? Value::none() : bound[1]);
    return make_dict(std::move(items));
  }
  sort_arguments("", std::move(arguments), what);
  if (method.name == "items") return view(self, ViewKind::kItems);
  if (method.name == "keys") return view(self, ViewKind::kKeys);
  if (method.name == "values") return view(self, ViewKind::kValues);
  return make_dict(self.as<Dict>().items);
}

Value call_cycler_method(const Function& method) {
  auto& cycler = method.self.as<Cycler>();
  if (method.name == "reset") {
    cycler.at = 0;
    return Value::none();
  }
  Value item = cycler.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size();
  return item;
}

}  // namespace

std::vector<Value> sort_arguments(std::string_view list, Arguments arguments, const std::string& what) {
  const bool by_place = !list.empty() && list[0] == '/';
  const std::vector<Parameter> parameters = parse_parameters(by_place ? list.substr(1) : list);
  if (arguments.positional.size() > parameters.size())
    type_error(what + " takes at most " + std::to_string(parameters.size()) + " arguments (" +
               std::to_string(arguments.positional.size()) + " given)");
  std::vector<Value> values = std::move(arguments.positional);
  values.resize(parameters.size());
  for (auto& [name, value] : arguments.named) {
    const auto it = std::find_if(parameters.begin(), parameters.end(),
                                 [&, &key = name](const Parameter& p) { return p.name == key; });
    if (by_place || it == parameters.end())
      type_error(what + " got an unexpected keyword argument '" + name + "'");
    Value& place = values[static_cast<size_t>(it - parameters.begin())];
    if (!place.missing()) type_error(what + " got multiple values for argument '" + name + "'");
    place = std::move(value);
  }
  for (size_t i = 0; i < parameters.size(); ++i)
    if (values[i].missing() && !parameters[i].optional)
      type_error(what + " is missing the argument '" + std::string(parameters[i].name) + "'");
  return values;
}

Value call_method(Interpreter&, const Function& method, Arguments arguments) {
  const Value& self = method.self;
  if (self.is(Type::kDict)) return call_dict_method(method, std::move(arguments));
  const std::string what = type_name(self) + "." + std::string(method.name) + "()";
  if (self.is(Type::kCycler)) {
    sort_arguments("", std::move(arguments), what);
    return call_cycler_method(method);
  }
  if (method.name == "count")
    return Value::integer(count_in(self, sort_arguments("/value", std::move(arguments), what)[0]));
  if (method.name == "index") {
    Bound bound =
        sort_arguments(self.is(Type::kRange) ? "/value" : "/value start= stop=", std::move(arguments), what);
    bound.resize(3);
    return index_in(self, bound);
  }
  sort_arguments("", std::move(arguments), what);
  return Value::list(items_of(self));  // a copy
}

}  // namespace seer::jinja
