#include "tokenizer/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;

struct Directive {
  bool left = false, sign = false, space = false, alternate = false, zero = false;
  int64_t width = -1, precision = -1;
  char conversion = 0;
};

// Applies "%" to a tuple, a dict or one value.
class PercentFormatter {
 public:
  PercentFormatter(const Value& format, const Value& values)
      : text_(format.text()), markup_(format.as<Str>().markup), values_(values) {}

  Text run() {
    size_t plain = 0;
    for (size_t at = text_.bytes.find('%'); at != std::string::npos; at = text_.bytes.find('%', plain)) {
      out_.append(text_, plain, at);
      at_ = at + 1;
      directive();
      plain = at_;
    }
    if (plain < text_.size()) out_.append(text_, plain, text_.size());
    const bool mapping = values_.is(Type::kDict) || values_.is(Type::kList) || values_.is(Type::kRange);
    const size_t n = values_.is(Type::kTuple) ? values_.items().size() : mapping ? used_ : 1;
    if (used_ < n) type_error("not all arguments converted during string formatting");
    return out_.take();
  }

 private:
  char peek() const {
    if (at_ >= text_.size()) fail(ErrorType::kValueError, "incomplete format");
    return text_.bytes[at_];
  }
  Value next_value() {
    if (!values_.is(Type::kTuple)) {
      if (used_++ > 0) type_error("not enough arguments for format string");
      return values_;
    }
    if (used_ >= values_.items().size()) type_error("not enough arguments for format string");
    return values_.items()[used_++];
  }
  Value keyed_value();
  int64_t number(bool* given);
  void directive();
  void append(const Directive& d, const Value& value);
  void append_padded(const Directive& d, const Text& text);
  Text of_text(const Value& value, bool repr) const;
  std::string of_integer(const Directive& d, const Value& value) const;
  std::string of_float(const Directive& d, const Value& value) const;

  const Text& text_;
  bool markup_;
  const Value& values_;
  TextBuilder out_;
  size_t at_ = 0, used_ = 0;
};

Value PercentFormatter::keyed_value() {
  int depth = 1;
  const size_t begin = ++at_;
  for (; depth > 0; ++at_) {
    if (at_ >= text_.size()) fail(ErrorType::kValueError, "incomplete format key");
    depth += text_.bytes[at_] == '(' ? 1 : text_.bytes[at_] == ')' ? -1 : 0;
  }
  if (!values_.is(Type::kDict)) type_error("format requires a mapping");
  const std::string_view key = text_.view().substr(begin, at_ - 1 - begin);
  const Value* value = values_.as<Dict>().find(key);
  if (value == nullptr) fail(ErrorType::kLookupError, "no key " + in_quotes(key));
  return *value;
}

int64_t PercentFormatter::number(bool* given) {
  if (peek() == '*') {
    ++at_;
    *given = true;
    const Value value = next_value();
    if (!value.integral()) type_error("* wants int");
    if (std::abs(value.as_int()) > kMaxWidth) Meter::text(SIZE_MAX);
    return value.as_int();
  }
  int64_t n = 0;
  for (; peek() >= '0' && peek() <= '9'; ++at_) {
    n = n * 10 + (peek() - '0');
    *given = true;
    if (n > kMaxWidth) Meter::text(SIZE_MAX);
  }
  return n;
}

void PercentFormatter::directive() {
  Meter::step();
  Directive d;
  Value value;
  if (peek() == '(') value = keyed_value();
  for (;; ++at_) {
    const char c = peek();
    if (c == '-')
      d.left = true;
    else if (c == '+')
      d.sign = true;
    else if (c == ' ')
      d.space = true;
    else if (c == '#')
      d.alternate = true;
    else if (c == '0')
      d.zero = true;
    else
      break;
  }
  bool given = false;
  const int64_t width = number(&given);
  if (given) {
    d.width = std::abs(width);
    d.left = d.left || width < 0;
  }
  if (peek() == '.') {
    ++at_;
    d.precision = std::max<int64_t>(number(&given), 0);
  }
  if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
  d.conversion = peek();
  ++at_;
  if (d.conversion == '%') return out_.append('%');
  if (value.missing()) value = next_value();
  append(d, value);
}

void PercentFormatter::append(const Directive& d, const Value& value) {
  switch (d.conversion) {
    case 's':
    case 'r':
    case 'a': {
      if (d.conversion == 'a') fail(ErrorType::kUnsupported, "the conversion %a is not supported");
      Text text = of_text(value, d.conversion == 'r');
      if (d.precision >= 0) text = cut(text, 0, byte_of_point(text.bytes, static_cast<size_t>(d.precision)));
      return append_padded(d, text);
    }
    case 'c': {
      Text text;
      if (value.integral()) {
        if (value.as_int() < 0 || value.as_int() > 0x10FFFF)
          fail(ErrorType::kArithmeticError, "%c arg not in range(0x110000)");
        if (value.as_int() >= 0xD800 && value.as_int() <= 0xDFFF)
          fail(ErrorType::kUnsupported, "half of a surrogate pair is not supported");
        append_point(&text.bytes, static_cast<int32_t>(value.as_int()));
      } else if (value.is(Type::kStr) && value.as<Str>().points() == 1) {
        text = value.text();
      } else {
        require_defined(value);
        type_error("%c requires int or char");
      }
      return append_padded(d, text);
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
      return append_padded(d, Text{of_integer(d, value), {}});
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      return append_padded(d, Text{of_float(d, value), {}});
    default:
      fail(ErrorType::kValueError, std::string("unsupported format character '") + d.conversion + "'");
  }
}

Text PercentFormatter::of_text(const Value& value, bool repr) const {
  TextBuilder builder;
  if (repr) {
    append_repr(&builder, value);
  } else {
    append_str(&builder, value);
  }
  if (!markup_) return builder.take();
  return !repr && value.is(Type::kStr) && value.as<Str>().markup ? value.text() : escape(builder.text());
}

std::string PercentFormatter::of_integer(const Directive& d, const Value& value) const {
  require_defined(value);
  const bool based = d.conversion == 'x' || d.conversion == 'X' || d.conversion == 'o';
  // Markup wraps its values, and Python can only apply int() to those.
  if (!value.integral() && (based || !value.is(Type::kFloat)))
    type_error(std::string("%") + d.conversion + " format: a real number is required, not " +
               type_name(value));
  if (value.is(Type::kFloat) && !(std::fabs(value.as_double()) < 9.2e18))
    fail(ErrorType::kUnsupported, "an integer of more than 64 bits is not supported");
  const int64_t n = value.is(Type::kFloat) ? static_cast<int64_t>(value.as_double()) : value.as_int();
  std::string digits = in_base(n, d.conversion == 'o' ? 8 : based ? 16 : 10, d.conversion == 'X');
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  if (d.precision > static_cast<int64_t>(digits.size()))
    digits.insert(0, static_cast<size_t>(d.precision) - digits.size(), '0');
  std::string prefix = negative ? "-" : d.sign ? "+" : d.space ? " " : "";
  if (d.alternate && based) prefix += std::string("0") + d.conversion;
  const auto size = static_cast<int64_t>(prefix.size() + digits.size());
  if (d.zero && !d.left && d.width > size) digits.insert(0, static_cast<size_t>(d.width - size), '0');
  return prefix + digits;
}

std::string PercentFormatter::of_float(const Directive& d, const Value& value) const {
  require_defined(value);
  double number = value.as_double();
  if (!value.number()) {
    if (!markup_) type_error("must be real number, not " + type_name(value));
    type_error("float() argument must be a string or a real number");
  }
  std::string text = printf_float(number, d.conversion, d.precision < 0 ? 6 : d.precision, d.alternate);
  const bool negative = text[0] == '-';
  if (negative) text.erase(0, 1);
  const std::string prefix = negative ? "-" : d.sign ? "+" : d.space ? " " : "";
  const auto size = static_cast<int64_t>(prefix.size() + text.size());
  if (d.zero && !d.left && d.width > size) text.insert(0, static_cast<size_t>(d.width - size), '0');
  return prefix + text;
}

void PercentFormatter::append_padded(const Directive& d, const Text& text) {
  out_.append(pad(text, d.width, d.left ? Side::kLeft : Side::kRight, Text{" ", {}}));
}

}  // namespace

std::string in_base(int64_t value, int base, bool capitals) {
  const char* digits = capitals ? "0123456789ABCDEF" : "0123456789abcdef";
  uint64_t rest = value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  std::string text;
  do {
    text.push_back(digits[rest % static_cast<uint64_t>(base)]);
    rest /= static_cast<uint64_t>(base);
  } while (rest != 0);
  if (value < 0) text.push_back('-');
  std::reverse(text.begin(), text.end());
  return text;
}

std::string printf_float(double value, char conversion, int64_t precision, bool alternate) {
  if (precision > 400) fail(ErrorType::kUnsupported, "a precision of more than 400 digits is not supported");
  if (std::isnan(value)) return conversion < 'a' ? "NAN" : "nan";
  const std::string format = std::string(alternate ? "%#.*" : "%.*") + conversion;
  char buffer[1024];
  const int n = std::snprintf(buffer, sizeof buffer, format.c_str(), static_cast<int>(precision), value);
  return {buffer, static_cast<size_t>(n)};
}

Value format_percent(const Value& format, const Value& values) {
  const bool markup = format.as<Str>().markup;
  return Value::string(PercentFormatter(format, values).run(), markup);
}

}  // namespace seer::jinja
