#include <cmath>

#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {
namespace {

[[noreturn]] void too_large() {
  fail(ErrorType::kUnsupported, "an integer of more than 64 bits is not supported");
}

[[noreturn]] void no_operands(std::string_view op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  type_error("unsupported operand type(s) for " + std::string(op) + ": '" + type_name(a) + "' and '" +
             type_name(b) + "'");
}

[[noreturn]] void by_zero(const std::string& message) { fail(ErrorType::kArithmeticError, message); }

void check_repeat(size_t size, int64_t n_times, size_t item_bytes) {
  if (size == 0 || n_times <= 0) return;
  // Checked before any memory is asked for. A quotient cannot overflow.
  if (static_cast<uint64_t>(n_times) > (uint64_t{1} << 40) / size) Meter::text(SIZE_MAX);
  Meter::text(size * static_cast<size_t>(n_times) * item_bytes);
  Meter::touch(size * static_cast<size_t>(n_times) * item_bytes);
}

Value repeat(const Value& value, int64_t n_times) {
  if (value.is(Type::kStr)) {
    check_repeat(value.text().size(), n_times, 1);
    TextBuilder builder;
    for (int64_t i = 0; i < n_times && value.text().size() != 0; ++i) builder.append(value.text());
    return Value::string(builder.take(), value.as<Str>().markup);
  }
  check_repeat(value.items().size(), n_times, sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < n_times && !value.items().empty(); ++i)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return value.is(Type::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

bool repeatable(const Value& value) { return value.is(Type::kStr) || value.sequence(); }

Value add_strings(const Value& a, const Value& b) {
  const bool markup = a.as<Str>().markup || b.as<Str>().markup;
  TextBuilder builder;
  builder.append(markup ? escaped(a) : a.text());
  builder.append(markup ? escaped(b) : b.text());
  return Value::string(builder.take(), markup);
}

Value integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (true) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) too_large();
    exponent >>= 1;
    if (exponent == 0) return Value::integer(result);
    if (base == 0 || base == 1) return Value::integer(exponent == 0 ? result : base * (result != 0));
    if (base == -1) {
      base = 1;
      continue;
    }
    if (__builtin_mul_overflow(base, base, &base)) too_large();
  }
}

// Python's % for floats, whose result has the sign of the divisor.
double float_modulo(double a, double b) {
  double mod = std::fmod(a, b);
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) mod += b;
  } else {
    mod = std::copysign(0.0, b);
  }
  return mod;
}

double float_floor_divide(double a, double b) {
  double mod = std::fmod(a, b);
  double quotient = (a - mod) / b;
  if (mod != 0 && (b < 0) != (mod < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1;
  return floored;
}

}  // namespace

Value add(const Value& a, const Value& b) {
  if (a.integral() && b.integral()) {
    int64_t result = 0;
    if (__builtin_add_overflow(a.as_int(), b.as_int(), &result)) too_large();
    return Value::integer(result);
  }
  if (a.number() && b.number()) return Value::real(a.as_double() + b.as_double());
  if (a.is(Type::kStr) && b.is(Type::kStr)) return add_strings(a, b);
  if (a.sequence() && a.type() == b.type()) {
    Meter::step(static_cast<int64_t>(a.items().size() + b.items().size()));
    Meter::text((a.items().size() + b.items().size()) * sizeof(Value));
    std::vector<Value> items;
    items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is(Type::kList) ? Value::list(std::move(items)) : Value::tuple(std::move(items));
  }
  no_operands("+", a, b);
}

Value multiply(const Value& a, const Value& b) {
  if (a.integral() && b.integral()) {
    int64_t result = 0;
    if (__builtin_mul_overflow(a.as_int(), b.as_int(), &result)) too_large();
    return Value::integer(result);
  }
  if (a.number() && b.number()) return Value::real(a.as_double() * b.as_double());
  if (repeatable(a) && b.integral()) return repeat(a, b.as_int());
  if (repeatable(b) && a.integral()) return repeat(b, a.as_int());
  no_operands("*", a, b);
}

Value divide(const Value& a, const Value& b) {
  if (!a.number() || !b.number()) no_operands("/", a, b);
  if (b.as_double() == 0)
    by_zero(a.integral() && b.integral() ? "division by zero" : "float division by zero");
  if (a.integral() && b.integral())
    return Value::real(static_cast<double>(static_cast<long double>(a.as_int()) / b.as_int()));
  return Value::real(a.as_double() / b.as_double());
}

Value floor_divide(const Value& a, const Value& b) {
  if (!a.number() || !b.number()) no_operands("//", a, b);
  if (b.as_double() == 0)
    by_zero(a.integral() && b.integral() ? "integer division or modulo by zero"
                                         : "float floor division by zero");
  if (!a.integral() || !b.integral()) return Value::real(float_floor_divide(a.as_double(), b.as_double()));
  if (a.as_int() == INT64_MIN && b.as_int() == -1) too_large();
  const int64_t quotient = a.as_int() / b.as_int(), rest = a.as_int() % b.as_int();
  return Value::integer(rest != 0 && (rest < 0) != (b.as_int() < 0) ? quotient - 1 : quotient);
}

Value modulo(const Value& a, const Value& b) {
  if (!a.number() || !b.number()) no_operands("%", a, b);
  if (b.as_double() == 0) by_zero(a.integral() && b.integral() ? "integer modulo by zero" : "float modulo");
  if (!a.integral() || !b.integral()) return Value::real(float_modulo(a.as_double(), b.as_double()));
  if (b.as_int() == -1) return Value::integer(0);
  const int64_t rest = a.as_int() % b.as_int();
  return Value::integer(rest != 0 && (rest < 0) != (b.as_int() < 0) ? rest + b.as_int() : rest);
}

Value power(const Value& a, const Value& b) {
  if (!a.number() || !b.number()) no_operands("** or pow()", a, b);
  if (a.integral() && b.integral() && b.as_int() >= 0) return integer_power(a.as_int(), b.as_int());
  const double base = a.as_double(), exponent = b.as_double();
  if (base == 0 && exponent < 0) by_zero("0.0 cannot be raised to a negative power");
  if (base < 0 && std::isfinite(base) && std::isfinite(exponent) && std::floor(exponent) != exponent)
    fail(ErrorType::kUnsupported, "a complex number is not supported");
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
    fail(ErrorType::kArithmeticError, "Numerical result out of range");
  return Value::real(result);
}

Value negative(const Value& value) {
  require_defined(value);
  if (value.is(Type::kFloat)) return Value::real(-value.as_double());
  if (!value.integral()) type_error("bad operand type for unary -: '" + type_name(value) + "'");
  if (value.as_int() == INT64_MIN) too_large();
  return Value::integer(-value.as_int());
}

Value positive(const Value& value) {
  require_defined(value);
  if (value.is(Type::kFloat)) return value;
  if (!value.integral()) type_error("bad operand type for unary +: '" + type_name(value) + "'");
  return Value::integer(value.as_int());
}

Value binary(ExprKind kind, const Value& a, const Value& b) {
  switch (kind) {
    case ExprKind::kAdd:
      return add(a, b);
    case ExprKind::kSubtract:
      if (a.integral() && b.integral()) {
        int64_t result = 0;
        if (__builtin_sub_overflow(a.as_int(), b.as_int(), &result)) too_large();
        return Value::integer(result);
      }
      if (!a.number() || !b.number()) no_operands("-", a, b);
      return Value::real(a.as_double() - b.as_double());
    case ExprKind::kMultiply:
      return multiply(a, b);
    case ExprKind::kDivide:
      return divide(a, b);
    case ExprKind::kFloorDivide:
      return floor_divide(a, b);
    case ExprKind::kModulo:
      return a.is(Type::kStr) ? format_percent(a, b) : modulo(a, b);
    default:
      return power(a, b);
  }
}

Text escape(const Text& text) {
  constexpr std::string_view kSpecial = "&<>'\"";
  constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  TextBuilder builder;
  size_t at = 0;
  for (size_t i = text.bytes.find_first_of(kSpecial); i != std::string::npos;
       i = text.bytes.find_first_of(kSpecial, i + 1)) {
    builder.append(text, at, i);
    builder.append(kEntities[kSpecial.find(text.bytes[i])], from_messages(text, i, i + 1));
    at = i + 1;
  }
  builder.append(text, at, text.size());
  return builder.take();
}

Text escaped(const Value& value) {
  if (value.is(Type::kStr) && value.as<Str>().markup) return value.text();
  return escape(text_of(value));
}

}  // namespace seer::jinja
