#include "tokenizer/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"

namespace seer::jinja {
namespace {

std::string_view symbol(CompareOp op) {
  switch (op) {
    case CompareOp::kLess:
      return "<";
    case CompareOp::kLessEqual:
      return "<=";
    case CompareOp::kGreater:
      return ">";
    default:
      return ">=";
  }
}

template <class T>
bool ordered_as(CompareOp op, const T& a, const T& b) {
  switch (op) {
    case CompareOp::kLess:
      return a < b;
    case CompareOp::kLessEqual:
      return a <= b;
    case CompareOp::kGreater:
      return a > b;
    default:
      return a >= b;
  }
}

// Converts a number exactly, since long double holds every int64_t.
static_assert(sizeof(long double) > 8, "integers and floats are compared as long double");
long double wide(const Value& value) {
  return value.is(Type::kFloat) ? static_cast<long double>(value.as_double())
                                : static_cast<long double>(value.as_int());
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    Meter::step();
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    Meter::step();
    const Value* other = b.find(item.first);
    return other != nullptr && equal(item.second, *other);
  });
}

bool equal_ranges(const Range& a, const Range& b) {
  const int64_t n = a.size();
  return n == b.size() && (n == 0 || (a.start == b.start && (n == 1 || a.step == b.step)));
}

bool same_function(const Function& a, const Function& b) {
  return a.name == b.name && (a.self.missing() ? b.self.missing() : identical(a.self, b.self));
}

}  // namespace

std::string type_name(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kStr:
      return value.as<Str>().markup ? "Markup" : "str";
    case Type::kList:
      return "list";
    case Type::kTuple:
      return "tuple";
    case Type::kDict:
      return "dict";
    case Type::kRange:
      return "range";
    case Type::kView:
      return value.as<View>().kind == ViewKind::kKeys     ? "dict_keys"
             : value.as<View>().kind == ViewKind::kValues ? "dict_values"
                                                          : "dict_items";
    case Type::kIterator:
      return "generator";
    case Type::kNamespace:
      return "TemplateNamespace";
    case Type::kFunction:
      return "function";
    case Type::kMacro:
      return "Macro";
    case Type::kLoop:
      return "LoopContext";
    case Type::kCycler:
      return "Cycler";
    case Type::kJoiner:
      return "Joiner";
  }
  return "object";
}

void type_error(const std::string& message) { fail(ErrorType::kTypeError, message); }

void require_defined(const Value& value) {
  if (!value.is(Type::kUndefined)) return;
  const auto& undefined = value.as<Undefined>();
  fail(undefined.security ? ErrorType::kSecurityError : ErrorType::kUndefinedError, undefined.message);
}

bool truthy(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
      return value.as_int() != 0;
    case Type::kFloat:
      return value.as_double() != 0;
    case Type::kStr:
      return value.text().size() != 0;
    case Type::kList:
    case Type::kTuple:
      return !value.items().empty();
    case Type::kDict:
      return !value.as<Dict>().items.empty();
    case Type::kRange:
      return value.as<Range>().size() != 0;
    case Type::kView:
      return value.as<View>().size() != 0;
    default:
      return true;
  }
}

bool identical(const Value& a, const Value& b) {
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kNone:
      return true;
    case Type::kBool:
      return a.as_bool() == b.as_bool();
    case Type::kInt:
      // CPython keeps one object for each small integer.
      return a.as_int() == b.as_int() && a.as_int() >= -5 && a.as_int() <= 256;
    case Type::kFloat:
      return false;
    default:
      return a.rep() == b.rep();
  }
}

bool equal(const Value& a, const Value& b) {
  if (a.number() && b.number()) return wide(a) == wide(b);
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kStr:
      Meter::touch(std::min(a.text().size(), b.text().size()));
      return a.text().bytes == b.text().bytes;
    case Type::kList:
    case Type::kTuple:
      return equal_items(a.items(), b.items());
    case Type::kDict:
      return equal_dicts(a.as<Dict>(), b.as<Dict>());
    case Type::kRange:
      return equal_ranges(a.as<Range>(), b.as<Range>());
    case Type::kFunction:
      return same_function(a.as<Function>(), b.as<Function>());
    case Type::kView:
      if (a.rep() == b.rep() || a.as<View>().kind == ViewKind::kValues ||
          b.as<View>().kind == ViewKind::kValues)
        return a.rep() == b.rep();
      fail(ErrorType::kUnsupported, "comparing the views of dicts is not supported");
    default:
      return a.rep() == b.rep();
  }
}

bool ordered(CompareOp op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  if (a.number() && b.number()) return ordered_as(op, wide(a), wide(b));
  if (a.is(Type::kStr) && b.is(Type::kStr)) {
    Meter::touch(std::min(a.text().size(), b.text().size()));
    return ordered_as(op, a.text().bytes.compare(b.text().bytes), 0);
  }
  if (a.sequence() && a.type() == b.type()) {
    const auto &left = a.items(), &right = b.items();
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      Meter::step();
      if (!equal(left[i], right[i])) return ordered(op, left[i], right[i]);
    }
    return ordered_as(op, left.size(), right.size());
  }
  if (a.is(Type::kView) && b.is(Type::kView))
    fail(ErrorType::kUnsupported, "comparing the views of dicts is not supported");
  type_error("'" + std::string(symbol(op)) + "' not supported between instances of '" + type_name(a) +
             "' and '" + type_name(b) + "'");
}

bool contains(const Value& container, const Value& item) {
  switch (container.type()) {
    case Type::kStr:
      if (!item.is(Type::kStr))
        type_error("'in <string>' requires string as left operand, not " + type_name(item));
      return find_bytes(container.text().view(), item.text().view(), 0) != std::string_view::npos;
    case Type::kDict:
      return container.as<Dict>().find(item) != nullptr;
    case Type::kUndefined:
      return false;
    default:
      break;
  }
  Each each(container, "argument of type '" + type_name(container) + "' is not iterable");
  for (Value other; each.next(&other);)
    if (equal(other, item) || identical(other, item)) return true;
  return false;
}

bool compare(CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEqual:
      return equal(a, b);
    case CompareOp::kNotEqual:
      return !equal(a, b);
    case CompareOp::kIn:
      return contains(b, a);
    case CompareOp::kNotIn:
      return !contains(b, a);
    default:
      return ordered(op, a, b);
  }
}

size_t hash_of(std::string_view text) {
  Meter::touch(text.size());
  return std::hash<std::string_view>()(text);
}

size_t hash_of(const Value& value) {
  switch (value.type()) {
    case Type::kStr:
      return hash_of(value.text().view());
    case Type::kBool:
    case Type::kInt:
      return std::hash<int64_t>()(value.as_int());
    case Type::kFloat: {
      const double d = value.as_double();
      const bool whole = std::floor(d) == d && std::fabs(d) < 9e18;
      return whole ? std::hash<int64_t>()(static_cast<int64_t>(d)) : std::hash<double>()(d);
    }
    case Type::kTuple: {
      size_t hash = 0x345678;
      for (const Value& item : value.items()) {
        Meter::step();
        hash = hash * 1000003 ^ hash_of(item);
      }
      return hash;
    }
    case Type::kRange:
      return static_cast<size_t>(value.as<Range>().size());
    case Type::kNone:
    case Type::kUndefined:
      return static_cast<size_t>(value.type());
    case Type::kList:
    case Type::kDict:
      type_error("unhashable type: '" + type_name(value) + "'");
    case Type::kView:
      if (value.as<View>().kind != ViewKind::kValues)
        type_error("unhashable type: '" + type_name(value) + "'");
      return std::hash<const Rep*>()(value.rep());
    case Type::kFunction:
      return hash_of(value.as<Function>().name);
    default:
      return std::hash<const Rep*>()(value.rep());
  }
}

}  // namespace seer::jinja
