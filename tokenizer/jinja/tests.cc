// The tests that may follow "is".
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

template <Type type>
bool is_type(Interpreter&, const Value& value, Bound&) {
  return value.is(type);
}

bool defined(Interpreter&, const Value& value, Bound&) { return !value.is(Type::kUndefined); }
bool number(Interpreter&, const Value& value, Bound&) { return value.number(); }
bool is_true(Interpreter&, const Value& value, Bound&) { return value.is(Type::kBool) && value.as_bool(); }
bool is_false(Interpreter&, const Value& value, Bound&) { return value.is(Type::kBool) && !value.as_bool(); }
bool is_iterable(Interpreter&, const Value& value, Bound&) { return iterable(value); }

bool sequence(Interpreter&, const Value& value, Bound&) {
  return value.sequence() || value.is(Type::kStr) || value.is(Type::kDict) || value.is(Type::kRange) ||
         value.is(Type::kUndefined);
}

bool is_callable(Interpreter&, const Value& value, Bound&) {
  // jinja2's Undefined has a __call__, which raises an error.
  return value.is(Type::kFunction) || value.is(Type::kMacro) || value.is(Type::kUndefined) ||
         value.is(Type::kLoop) || value.is(Type::kJoiner);
}

bool modulo_is(const Value& value, const Value& divisor, int64_t wanted) {
  // For a string, % formats it.
  return equal(binary(ExprKind::kModulo, value, divisor), Value::integer(wanted));
}

bool odd(Interpreter&, const Value& value, Bound&) { return modulo_is(value, Value::integer(2), 1); }
bool even(Interpreter&, const Value& value, Bound&) { return modulo_is(value, Value::integer(2), 0); }
bool divisible_by(Interpreter&, const Value& value, Bound& arguments) {
  return modulo_is(value, arguments[0], 0);
}

template <bool upper>
bool cased(Interpreter&, const Value& value, Bound&) {
  return all_cased(text_of(value), upper);
}

bool same_as(Interpreter&, const Value& value, Bound& arguments) { return identical(value, arguments[0]); }
bool is_in(Interpreter&, const Value& value, Bound& arguments) { return contains(arguments[0], value); }
bool is_escaped(Interpreter&, const Value& value, Bound&) {
  return value.is(Type::kStr) && value.as<Str>().markup;
}

template <CompareOp op>
bool compares(Interpreter&, const Value& value, Bound& arguments) {
  return compare(op, value, arguments[0]);
}

bool filter_exists(Interpreter&, const Value& value, Bound&) {
  hash_of(value);
  return value.is(Type::kStr) && known_filter(value.text().view());
}

bool test_exists(Interpreter&, const Value& value, Bound&) {
  hash_of(value);
  return value.is(Type::kStr) && find_test(value.text().view()) != nullptr;
}

constexpr TestEntry kTests[] = {
    {"defined", "", defined},
    {"undefined", "", is_type<Type::kUndefined>},
    {"none", "", is_type<Type::kNone>},
    {"string", "", is_type<Type::kStr>},
    {"mapping", "", is_type<Type::kDict>},
    {"integer", "", is_type<Type::kInt>},
    {"float", "", is_type<Type::kFloat>},
    {"boolean", "", is_type<Type::kBool>},
    {"number", "", number},
    {"true", "", is_true},
    {"false", "", is_false},
    {"iterable", "", is_iterable},
    {"sequence", "", sequence},
    {"callable", "", is_callable},
    {"odd", "", odd},
    {"even", "", even},
    {"divisibleby", "num", divisible_by},
    {"lower", "", cased<false>},
    {"upper", "", cased<true>},
    {"sameas", "other", same_as},
    {"in", "seq", is_in},
    {"escaped", "", is_escaped},
    {"filter", "", filter_exists},
    {"test", "", test_exists},
    {"==", "/other", compares<CompareOp::kEqual>},
    {"eq", "/other", compares<CompareOp::kEqual>},
    {"equalto", "/other", compares<CompareOp::kEqual>},
    {"!=", "/other", compares<CompareOp::kNotEqual>},
    {"ne", "/other", compares<CompareOp::kNotEqual>},
    {"<", "/other", compares<CompareOp::kLess>},
    {"lt", "/other", compares<CompareOp::kLess>},
    {"lessthan", "/other", compares<CompareOp::kLess>},
    {"<=", "/other", compares<CompareOp::kLessEqual>},
    {"le", "/other", compares<CompareOp::kLessEqual>},
    {">", "/other", compares<CompareOp::kGreater>},
    {"gt", "/other", compares<CompareOp::kGreater>},
    {"greaterthan", "/other", compares<CompareOp::kGreater>},
    {">=", "/other", compares<CompareOp::kGreaterEqual>},
    {"ge", "/other", compares<CompareOp::kGreaterEqual>},
};

}  // namespace

const TestEntry* find_test(std::string_view name) {
  const auto* it =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const TestEntry& t) { return t.name == name; });
  return it == std::end(kTests) ? nullptr : it;
}

}  // namespace seer::jinja
