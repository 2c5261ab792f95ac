// Filters of numbers.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

// Converts as float(value). Returns false for a TypeError or ValueError.
bool to_float(const Value& value, double* number) {
  require_defined(value);
  if (value.is(Type::kStr)) return parse_float(value.text().bytes, number);
  if (!value.number()) return false;
  *number = value.as_double();
  return true;
}

Value truncated(double number) {
  if (!(std::fabs(number) < 9.2e18))
    fail(ErrorType::kUnsupported, "an integer of more than 64 bits is not supported");
  return Value::integer(static_cast<int64_t>(number));
}

Value int_filter(Interpreter&, const Value& value, Bound& arguments) {
  Value fallback = arguments[0].missing() ? Value::integer(0) : arguments[0];
  require_defined(value);
  if (value.integral()) return Value::integer(value.as_int());
  if (value.is(Type::kStr)) {
    int64_t number = 0;
    bool good = false;
    const Value base = arguments[1].missing() ? Value::integer(10) : arguments[1];
    if (base.integral() && (base.as_int() == 0 || (base.as_int() >= 2 && base.as_int() <= 36)))
      good = parse_int(value.text().bytes, base.as_int(), &number);
    if (good) return Value::integer(number);
  }
  double number = 0;
  if (!to_float(value, &number)) return fallback;
  if (value.is(Type::kFloat) && std::isinf(number))  // in jinja2, int() overflows in this case without being
                                                     // caught
    fail(ErrorType::kArithmeticError, "cannot convert float infinity to integer");
  return std::isfinite(number) ? truncated(number) : fallback;
}

Value float_filter(Interpreter&, const Value& value, Bound& arguments) {
  double number = 0;
  if (to_float(value, &number)) return Value::real(number);
  return arguments[0].missing() ? Value::real(0) : arguments[0];
}

Value abs_filter(Interpreter&, const Value& value, Bound&) {
  require_defined(value);
  if (value.is(Type::kFloat)) return Value::real(std::fabs(value.as_double()));
  if (!value.integral()) type_error("bad operand type for abs(): '" + type_name(value) + "'");
  return value.as_int() < 0 ? negative(value) : Value::integer(value.as_int());
}

int64_t round_integer(int64_t value, int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -18) return 0;
  int64_t unit = 1;
  for (int64_t i = 0; i > digits; --i) unit *= 10;
  int64_t rest = value % unit;
  if (rest < 0) rest += unit;
  const int64_t down = value - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2 != 0);
  return up ? down + unit : down;
}

// Returns round(value, digits) as Python does: ties go to even, by the exact value.
double round_float(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 323) return value;
  if (digits < -308) return std::copysign(0.0, value);
  if (digits >= 0) return std::strtod(printf_float(value, 'f', digits, false).c_str(), nullptr);
  // Rounds to tens, hundreds and so on; digits after the point count for ties too.
  const long double unit = std::pow(10.0L, static_cast<long double>(-digits));
  const long double scaled = static_cast<long double>(value) / unit;
  return static_cast<double>(std::nearbyint(scaled) * unit);
}

Value round_filter(Interpreter&, const Value& value, Bound& arguments) {
  std::string method = "common";
  if (!arguments[1].missing()) method = arguments[1].is(Type::kStr) ? arguments[1].text().bytes : "";
  if (method != "common" && method != "ceil" && method != "floor")
    fail(ErrorType::kRuntimeError, "method must be common, ceil or floor");
  require_defined(value);
  if (!value.number()) type_error("type " + type_name(value) + " doesn't define __round__ method");
  const Value digits = arguments[0].missing() ? Value::integer(0) : arguments[0];
  if (method != "common") {
    const Value scale = power(Value::integer(10), digits);
    const Value scaled = multiply(value, scale);
    const double whole = method == "ceil" ? std::ceil(scaled.as_double()) : std::floor(scaled.as_double());
    if (!std::isfinite(whole)) fail(ErrorType::kArithmeticError, "cannot convert float to integer");
    return divide(scaled.integral() ? scaled : truncated(whole), scale);
  }
  if (digits.is(Type::kNone))
    return value.integral() ? Value::integer(value.as_int()) : truncated(std::nearbyint(value.as_double()));
  const int64_t n = index_of(digits, "round()");
  return value.integral() ? Value::integer(round_integer(value.as_int(), n))
                          : Value::real(round_float(value.as_double(), n));
}

Value file_size(Interpreter&, const Value& value, Bound& arguments) {
  double bytes = 0;
  if (!to_float(value, &bytes)) fail(ErrorType::kValueError, "filesizeformat: expected a number");
  const bool binary = !arguments[0].missing() && truthy(arguments[0]);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value::string("1 Byte");
  if (bytes < base) return Value::string(std::to_string(truncated(bytes).as_int()) + " Bytes");
  constexpr std::string_view kLetters = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  for (; i < kLetters.size(); ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == kLetters.size()) break;
  }
  const std::string number = printf_float(base * bytes / unit, 'f', 1, false);
  const std::string letter(1, binary && i == 0 ? 'K' : kLetters[i]);
  return Value::string(number + " " + letter + (binary ? "iB" : "B"));
}

constexpr FilterEntry kNumberFilters[] = {
    {"int", "default= base=", int_filter},
    {"float", "default=", float_filter},
    {"abs", "", abs_filter},
    {"round", "precision= method=", round_filter},
    {"filesizeformat", "binary=", file_size},
};

}  // namespace

FilterList number_filters() { return {kNumberFilters, std::size(kNumberFilters)}; }

}  // namespace seer::jinja
