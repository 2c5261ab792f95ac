// Evaluates expressions, and calls of macros.
#include <algorithm>

#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {
namespace {

constexpr int kMaxCalls = 200;

}  // namespace

Value Interpreter::eval(const Expr& expr) {
  Meter::step();
  if (expr.kind == ExprKind::kConst) return expr.constant;
  if (expr.kind == ExprKind::kName) {
    const Value& value = slot(expr.slot);
    return value.missing() ? Value::undefined_name(expr.name) : value;
  }
  const Deeper deeper(&depth_, kMaxDepth, "operations and statements");
  return eval_inner(expr);
}

Value Interpreter::eval_inner(const Expr& expr) {
  const auto operand = [&](size_t i) { return eval(*expr.items[i]); };
  switch (expr.kind) {
    case ExprKind::kList:
      return Value::list(eval_list(expr.items));
    case ExprKind::kTuple:
      return Value::tuple(eval_list(expr.items));
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kNot:
      return Value::boolean(!truthy(operand(0)));
    case ExprKind::kNegative:
      return negative(operand(0));
    case ExprKind::kPositive:
      return positive(operand(0));
    case ExprKind::kAnd: {
      Value left = operand(0);
      return truthy(left) ? operand(1) : left;
    }
    case ExprKind::kOr: {
      Value left = operand(0);
      return truthy(left) ? left : operand(1);
    }
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kConditional:
      return eval_conditional(expr);
    case ExprKind::kAttribute:
      return get_attribute(operand(0), expr.constant);
    case ExprKind::kItem: {
      const Value object = operand(0);
      return get_item(object, operand(1));
    }
    case ExprKind::kSlice: {
      Value parts[4];
      for (size_t i = 0; i < 4; ++i) parts[i] = expr.items[i] ? operand(i) : Value::none();
      return get_slice(parts[0], parts[1], parts[2], parts[3]);
    }
    case ExprKind::kCall:
      return eval_call(expr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    default: {
      const Value left = operand(0);
      return binary(expr.kind, left, operand(1));
    }
  }
}

std::vector<Value> Interpreter::eval_list(const std::vector<ExprPtr>& exprs) {
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const ExprPtr& expr : exprs) values.push_back(eval(*expr));
  return values;
}

Value Interpreter::eval_dict(const Expr& expr) {
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i < expr.items.size(); i += 2) {
    Value key = eval(*expr.items[i]);
    items.emplace_back(std::move(key), eval(*expr.items[i + 1]));
  }
  return make_dict(std::move(items));
}

Value Interpreter::eval_compare(const Expr& expr) {
  Value left = eval(*expr.items[0]);
  for (size_t i = 0; i < expr.compare.size(); ++i) {
    Value right = eval(*expr.items[i + 1]);
    if (!compare(expr.compare[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::eval_concat(const Expr& expr) {
  std::vector<Value> parts = eval_list(expr.items);
  TextBuilder builder;
  for (const Value& part : parts) append_str(&builder, part);
  return Value::string(builder.take());
}

Value Interpreter::eval_conditional(const Expr& expr) {
  if (truthy(eval(*expr.items[0]))) return eval(*expr.items[1]);
  if (expr.items[2]) return eval(*expr.items[2]);
  return Value::undefined("the inline if-expression on line " + std::to_string(expr.line) +
                          " evaluated to false and no else section was defined.");
}

void Interpreter::add_named(Arguments* arguments, const Value& more) {
  require_defined(more);
  if (!more.is(Type::kDict)) type_error("argument after ** must be a mapping, not " + type_name(more));
  for (const auto& [key, value] : more.as<Dict>().items) {
    if (!key.is(Type::kStr)) type_error("keywords must be strings");
    const std::string& name = key.text().bytes;
    for (const auto& given : arguments->named)
      if (given.first == name) type_error("got multiple values for keyword argument '" + name + "'");
    arguments->named.emplace_back(name, value);
  }
}

// Evaluates the arguments of a call. A call block passes its body as `caller`, after the named arguments and
// before **kwargs.
Arguments Interpreter::eval_arguments(const CallArguments& call, Value caller) {
  Arguments arguments;
  arguments.positional = eval_list(call.positional);
  for (const auto& [name, expr] : call.named) arguments.named.emplace_back(name, eval(*expr));
  if (call.more_positional) {
    const Value more = eval(*call.more_positional);
    for (Value& value : items_of(more, "argument after * must be an iterable, not " + type_name(more)))
      arguments.positional.push_back(std::move(value));
  }
  if (!caller.missing()) {
    for (const auto& given : arguments.named)
      if (given.first == "caller") type_error("got multiple values for keyword argument 'caller'");
    arguments.named.emplace_back("caller", std::move(caller));
  }
  if (call.more_named) add_named(&arguments, eval(*call.more_named));
  return arguments;
}

Value Interpreter::eval_call(const Expr& expr, Value caller) {
  const Value callee = eval(*expr.items[0]);
  Arguments arguments = eval_arguments(expr.call, std::move(caller));
  line_ = expr.line;
  Value result = call(callee, std::move(arguments));
  line_ = expr.line;
  return result;
}

Value Interpreter::eval_filter(const Expr& expr, const Value* content) {
  Value value;
  if (expr.items[0]) {
    value = eval_filter_operand(*expr.items[0], content);
  } else if (content != nullptr) {
    value = *content;
  }
  if (expr.filter == nullptr) fail(ErrorType::kRuntimeError, "No filter named '" + expr.name + "' found.");
  return call_filter(*this, *expr.filter, value, eval_arguments(expr.call));
}

// Evaluates the operand of a filter. Filters of a block are applied one after another, and the operand of the
// first is the block's content.
Value Interpreter::eval_filter_operand(const Expr& operand, const Value* content) {
  if (content != nullptr && operand.kind == ExprKind::kFilter) return eval_filter(operand, content);
  return eval(operand);
}

Value Interpreter::eval_test(const Expr& expr) {
  const Value value = eval(*expr.items[0]);
  if (expr.test == nullptr) fail(ErrorType::kRuntimeError, "No test named '" + expr.name + "' found.");
  return Value::boolean(call_test(*this, *expr.test, value, eval_arguments(expr.call)));
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  switch (callee.type()) {
    case Type::kMacro: {
      // The call may destroy the value that `callee` refers to.
      // NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
      const Value holder = callee;
      return call_macro(holder.as<Macro>(), std::move(arguments));
    }
    case Type::kFunction: {
      const auto& function = callee.as<Function>();
      if (function.self.missing()) return call_global(*this, function.name, std::move(arguments));
      if (function.self.is(Type::kLoop)) return call_loop_method(function, std::move(arguments));
      if (function.self.is(Type::kStr)) return call_str_method(*this, function, std::move(arguments));
      return call_method(*this, function, std::move(arguments));
    }
    case Type::kJoiner: {
      sort_arguments("", std::move(arguments), "Joiner.__call__()");
      auto& joiner = callee.as<Joiner>();
      const bool used = joiner.used;
      joiner.used = true;
      return used ? joiner.separator : Value::string("");
    }
    case Type::kLoop:
      type_error("The loop must have the 'recursive' marker to be called recursively.");
    default:
      require_defined(callee);
      type_error("'" + type_name(callee) + "' object is not callable");
  }
}

Value Interpreter::make_macro(const MacroDef& def) {
  auto* macro = new Macro;
  macro->def = &def;
  macro->outer = activation_;
  activation_->captured = true;
  return make(Type::kMacro, macro, 0);
}

Value Interpreter::call_macro(const Macro& macro, Arguments arguments) {
  const Deeper deeper(&calls_, kMaxCalls, "calls of macros");
  const MacroDef& def = *macro.def;
  auto activation = std::make_unique<Activation>();
  activation->outer = macro.outer;
  activation->slots.resize(static_cast<size_t>(def.n_slots));
  bind_macro(def, std::move(arguments), activation.get());

  Activation* const before = activation_;
  TextBuilder* const out = out_;
  TextBuilder content;
  activation_ = activation.get();
  out_ = &content;
  enter(def.scope);
  const size_t n_required = def.parameters.size() - def.defaults.size();
  for (size_t i = 0; i < def.parameters.size(); ++i) {
    Value& parameter = activation->slots[static_cast<size_t>(def.parameter_slots[i])];
    if (!parameter.missing()) continue;
    Value value = i < n_required ? Value::undefined("parameter '" + def.parameters[i] + "' was not provided")
                                 : eval(*def.defaults[i - n_required]);
    activation->slots[static_cast<size_t>(def.parameter_slots[i])] = std::move(value);
  }
  run(def.body);
  activation_ = before;
  out_ = out;
  if (activation->captured) {
    Meter::hold(sizeof(Activation) + activation->slots.size() * sizeof(Value));
    activations_.push_back(std::move(activation));
  }
  return Value::string(content.take());
}

void Interpreter::bind_macro(const MacroDef& def, Arguments arguments, Activation* activation) {
  const auto set = [&](int slot, Value value) {
    activation->slots[static_cast<size_t>(slot)] = std::move(value);
  };
  const auto take_named = [&](const std::string& name) {
    auto& named = arguments.named;
    const auto it = std::find_if(named.begin(), named.end(), [&](const auto& n) { return n.first == name; });
    if (it == named.end()) return Value();
    Value value = std::move(it->second);
    named.erase(it);
    return value;
  };
  const size_t n = def.parameters.size(), n_given = std::min(n, arguments.positional.size());
  for (size_t i = 0; i < n_given; ++i) set(def.parameter_slots[i], arguments.positional[i]);
  for (size_t i = n_given; i < n; ++i) set(def.parameter_slots[i], take_named(def.parameters[i]));
  if (def.caller_slot >= 0) {
    Value caller = take_named("caller");
    set(def.caller_slot, caller.missing() || caller.is(Type::kNone) ? Value::undefined("No caller defined")
                                                                    : std::move(caller));
  }
  const std::string name = def.name.empty() ? "None" : in_quotes(def.name);
  if (def.kwargs_slot >= 0) {
    std::vector<std::pair<Value, Value>> items;
    for (auto& [key, value] : arguments.named) items.emplace_back(Value::string(key), std::move(value));
    set(def.kwargs_slot, make_dict(std::move(items)));
  } else if (!arguments.named.empty()) {
    type_error("macro " + name + " takes no keyword argument '" + arguments.named[0].first + "'");
  }
  if (def.varargs_slot >= 0) {
    std::vector<Value> rest;
    for (size_t i = n_given; i < arguments.positional.size(); ++i) rest.push_back(arguments.positional[i]);
    set(def.varargs_slot, Value::tuple(std::move(rest)));
  } else if (arguments.positional.size() > n) {
    type_error("macro " + name + " takes not more than " + std::to_string(n) + " argument(s)");
  }
}

Value Interpreter::call_loop_method(const Function& method, Arguments arguments) {
  auto& loop = method.self.as<Loop>();
  if (!arguments.named.empty())
    type_error("LoopContext." + std::string(method.name) + "() takes no keyword arguments");
  auto& values = arguments.positional;
  if (method.name == "cycle") {
    if (values.empty()) type_error("no items for cycling given");
    return values[static_cast<size_t>(loop.index0) % values.size()];
  }
  const bool same = loop.has_changed && equal(Value::tuple(loop.changed), Value::tuple(values));
  if (same) return Value::boolean(false);
  loop.has_changed = true;
  for (const Value& value : values) loop.depth = std::max(loop.depth, value.depth() + 1);
  loop.changed = std::move(values);
  return Value::boolean(true);
}

}  // namespace seer::jinja
