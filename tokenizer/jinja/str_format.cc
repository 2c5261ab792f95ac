// Implements str.format, with the replacement fields of jinja2's sandbox, and format() of a value.
#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

int64_t number_of(std::string_view digits) {
  if (digits.size() > 9) fail(ErrorType::kValueError, "Too many decimal digits in format string");
  return digits.empty() ? 0 : std::stoll(std::string(digits));
}

class Formatter {
 public:
  Formatter(bool markup, const Arguments& arguments, const Value* mapping)
      : markup_(markup), arguments_(arguments), mapping_(mapping) {}

  Text run(const Text& format, int depth);

 private:
  Value first_value(std::string_view name);
  Value field_value(std::string_view field);
  void append_field(TextBuilder* out, const Text& field, int depth);
  Text formatted(const Value& value, const Text& spec) const;

  bool markup_;
  const Arguments& arguments_;
  const Value* mapping_;
  int64_t automatic_ = 0;  // the number of the next field that has none; -1 after a field with a number
};

Value Formatter::first_value(std::string_view name) {
  if (name.empty() || all_digits(name)) {
    if (name.empty() ? automatic_ < 0 : automatic_ > 0)
      fail(ErrorType::kValueError,
           "cannot switch between manual field specification and automatic field numbering");
    const int64_t i = name.empty() ? automatic_++ : number_of(name);
    if (!name.empty()) automatic_ = -1;
    if (i >= static_cast<int64_t>(arguments_.positional.size()))
      fail(ErrorType::kLookupError,
           "Replacement index " + std::to_string(i) + " out of range for positional args tuple");
    return arguments_.positional[static_cast<size_t>(i)];
  }
  if (mapping_ != nullptr) {
    const Value* value = mapping_->as<Dict>().find(name);
    if (value != nullptr) return *value;
  }
  for (const auto& [key, value] : arguments_.named)
    if (key == name) return value;
  fail(ErrorType::kLookupError, "no key " + in_quotes(name));
}

// Returns the value of a field such as "0.name[key]".
Value Formatter::field_value(std::string_view field) {
  const size_t end = std::min(field.find_first_of(".["), field.size());
  Value value = first_value(field.substr(0, end));
  field.remove_prefix(end);
  while (!field.empty()) {
    Meter::step();
    const bool attribute = field[0] == '.';
    if (!attribute && field[0] != '[')
      fail(ErrorType::kValueError, "Only '.' or '[' may follow ']' in format field specifier");
    field.remove_prefix(1);
    const size_t stop = attribute ? std::min(field.find_first_of(".["), field.size()) : field.find(']');
    if (stop == std::string_view::npos) fail(ErrorType::kValueError, "Missing ']' in format string");
    const std::string_view name = field.substr(0, stop);
    if (name.empty()) fail(ErrorType::kValueError, "Empty attribute in format string");
    if (attribute) {
      value = get_attribute(value, Value::string(name));
    } else {
      value = get_item(value, all_digits(name) ? Value::integer(number_of(name)) : Value::string(name));
    }
    field.remove_prefix(stop + (attribute ? 0 : 1));
  }
  return value;
}

Text Formatter::formatted(const Value& value, const Text& spec) const {
  if (!markup_) return format_value(value, spec);
  if (value.is(Type::kStr) && value.as<Str>().markup) {
    if (spec.size() != 0) fail(ErrorType::kValueError, "Unsupported format specification for Markup.");
    return value.text();
  }
  return escape(format_value(value, spec));
}

void Formatter::append_field(TextBuilder* out, const Text& field, int depth) {
  // The name ends at the first ! or : outside of brackets.
  size_t end = 0;
  for (bool in_brackets = false; end < field.size(); ++end) {
    const char c = field.bytes[end];
    if (c == '[') in_brackets = true;
    if (c == ']') in_brackets = false;
    if (c == '{') fail(ErrorType::kValueError, "unexpected '{' in field name");
    if (!in_brackets && (c == '!' || c == ':')) break;
  }
  Value value = field_value(field.view().substr(0, end));
  if (end < field.size() && field.bytes[end] == '!') {
    const char conversion = end + 1 < field.size() ? field.bytes[end + 1] : '\0';
    end += 2;
    if (end > field.size())
      fail(ErrorType::kValueError, "end of string while looking for conversion specifier");
    if (end < field.size() && field.bytes[end] != ':')
      fail(ErrorType::kValueError, "expected ':' after conversion specifier");
    TextBuilder converted;
    if (conversion == 'r') {
      append_repr(&converted, value);
    } else if (conversion == 's') {
      append_str(&converted, value);
    } else if (conversion == 'a') {
      fail(ErrorType::kUnsupported, "the conversion !a is not supported");
    } else {
      fail(ErrorType::kValueError, "Unknown conversion specifier " + std::string(1, conversion));
    }
    value = Value::string(converted.take());
  }
  Text spec;
  if (end < field.size()) spec = run(cut(field, end + 1, field.size()), depth + 1);
  out->append(formatted(value, spec));
}

Text Formatter::run(const Text& format, int depth) {
  if (depth > 1) fail(ErrorType::kValueError, "Max string recursion exceeded");
  TextBuilder out;
  const std::string& bytes = format.bytes;
  size_t plain = 0;
  for (size_t at = bytes.find_first_of("{}"); at != std::string::npos;
       at = bytes.find_first_of("{}", plain)) {
    Meter::step();
    out.append(format, plain, at);
    if (at + 1 < bytes.size() && bytes[at + 1] == bytes[at]) {
      out.append(format, at, at + 1);
      plain = at + 2;
      continue;
    }
    if (bytes[at] == '}') fail(ErrorType::kValueError, "Single '}' encountered in format string");
    int open = 1;
    size_t end = at + 1;
    for (; end < bytes.size(); ++end) {
      open += bytes[end] == '{' ? 1 : bytes[end] == '}' ? -1 : 0;
      if (open == 0) break;
    }
    if (open != 0)
      fail(ErrorType::kValueError, at + 1 == bytes.size() ? "Single '{' encountered in format string"
                                                          : "expected '}' before end of string");
    append_field(&out, cut(format, at + 1, end), depth);
    plain = end + 1;
  }
  out.append(format, plain, bytes.size());
  return out.take();
}

// A format specification: [[fill]align][sign][z][#][0][width][grouping][.precision][type].
struct Spec {
  Text fill{" ", {}};
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool alternate = false, given_fill = false;
  int64_t width = 0, precision = -1;
};

bool is_align(char c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

Spec parse_spec(const Text& text) {
  Spec spec;
  const std::string& s = text.bytes;
  const auto at_or_zero = [&](size_t i) { return i < s.size() ? s[i] : '\0'; };
  size_t at = 0;
  const size_t first = s.empty() ? 0 : point_size(s[0]);
  if (first > 0 && is_align(at_or_zero(first))) {
    spec.fill = cut(text, 0, first);
    spec.given_fill = true;
    spec.align = s[first];
    at = first + 1;
  } else if (is_align(at_or_zero(0))) {
    spec.align = s[0];
    at = 1;
  }
  if (at_or_zero(at) == '+' || at_or_zero(at) == '-' || at_or_zero(at) == ' ') spec.sign = s[at++];
  if (at_or_zero(at) == 'z') fail(ErrorType::kUnsupported, "the format option 'z' is not supported");
  if (at_or_zero(at) == '#') {
    spec.alternate = true;
    ++at;
  }
  if (!spec.given_fill && at_or_zero(at) == '0') {
    spec.fill = Text{"0", {}};
    if (spec.align == 0) spec.align = '0';  // the same as =, but only for numbers
    ++at;
  }
  const auto digits = [&] {
    const size_t begin = at;
    while (at_or_zero(at) >= '0' && at_or_zero(at) <= '9') ++at;
    return s.substr(begin, at - begin);
  };
  spec.width = number_of(digits());
  if (at_or_zero(at) == ',' || at_or_zero(at) == '_') spec.grouping = s[at++];
  if (at_or_zero(at) == '.') {
    ++at;
    const std::string precision = digits();
    if (precision.empty()) fail(ErrorType::kValueError, "Format specifier missing precision");
    spec.precision = number_of(precision);
  }
  if (at < s.size()) spec.type = s[at++];
  if (at < s.size()) fail(ErrorType::kValueError, "Invalid format specifier");
  return spec;
}

std::string grouped(const std::string& digits, char mark, size_t size) {
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % size == 0) text.push_back(mark);
    text.push_back(digits[i]);
  }
  return text;
}

Text format_string(const Text& text, const Spec& spec) {
  if (spec.type != 0 && spec.type != 's')
    fail(ErrorType::kValueError,
         std::string("Unknown format code '") + spec.type + "' for object of type 'str'");
  if (spec.align == '=' || spec.sign != '-' || spec.alternate || spec.grouping != 0)
    fail(ErrorType::kValueError, "format option not allowed in string format specifier");
  const Text part = spec.precision < 0
                        ? text
                        : cut(text, 0, byte_of_point(text.bytes, static_cast<size_t>(spec.precision)));
  const auto n = static_cast<int64_t>(count_points(part.bytes));
  if (spec.align == '^') {
    const int64_t left = std::max<int64_t>(spec.width - n, 0) / 2;
    const Text padded = pad(part, n + left, Side::kRight, spec.fill);
    return pad(padded, spec.width, Side::kLeft, spec.fill);
  }
  return pad(part, spec.width, spec.align == '>' ? Side::kRight : Side::kLeft, spec.fill);
}

// Puts together sign, digits and the rest, padded to the width.
Text place_number(const std::string& prefix, std::string digits, const std::string& rest, const Spec& spec) {
  const bool inside = spec.align == '=' || spec.align == '0';
  if (spec.grouping != 0) {
    const size_t size =
        spec.grouping == '_' && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b')
            ? 4
            : 3;
    // Zeros used as padding are grouped too.
    if (inside && spec.fill.bytes == "0") {
      const auto wanted = spec.width - static_cast<int64_t>(prefix.size() + rest.size());
      while (static_cast<int64_t>(grouped(digits, spec.grouping, size).size()) < wanted) {
        digits.insert(0, "0");
        Meter::step(static_cast<int64_t>(digits.size()));
      }
    }
    digits = grouped(digits, spec.grouping, size);
  }
  const Text number{prefix + digits + rest, {}};
  if (inside) {
    TextBuilder out;
    out.append(prefix);
    out.append(pad(Text{digits + rest, {}}, spec.width - static_cast<int64_t>(prefix.size()), Side::kRight,
                   spec.fill));
    return out.take();
  }
  Spec as_text;
  as_text.fill = spec.fill;
  as_text.width = spec.width;
  as_text.align = spec.align == 0 ? '>' : spec.align;
  return format_string(number, as_text);
}

std::string sign_of(bool negative, const Spec& spec) {
  return negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
}

Text format_real(double value, const Spec& spec) {
  const bool percent = spec.type == '%';
  char type = percent ? 'f' : spec.type;
  std::string text;
  if (type == 0 && spec.precision < 0) {
    text = float_repr(value);
  } else if (type == 0) {
    // The same as g, but with at least one digit after the point.
    text = printf_float(value, 'g', std::max<int64_t>(spec.precision, 1), false);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
  } else {
    if (type == 'n') type = 'g';
    text = printf_float(percent ? value * 100 : value, type, spec.precision < 0 ? 6 : spec.precision,
                        spec.alternate);
  }
  if (type == 0 && spec.alternate)
    fail(ErrorType::kUnsupported, "the format option '#' without a type is not supported");
  const bool negative = text[0] == '-';
  if (negative) text.erase(0, 1);
  const size_t whole = std::min(text.find_first_not_of("0123456789"), text.size());
  return place_number(sign_of(negative, spec), text.substr(0, whole),
                      text.substr(whole) + (percent ? "%" : ""), spec);
}

Text format_integer(int64_t value, const Spec& spec) {
  if (spec.type != 0 && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos)
    return format_real(static_cast<double>(value), spec);
  if (spec.precision >= 0) fail(ErrorType::kValueError, "Precision not allowed in integer format specifier");
  const int base = spec.type == 'b'                       ? 2
                   : spec.type == 'o'                     ? 8
                   : spec.type == 'x' || spec.type == 'X' ? 16
                                                          : 10;
  if (spec.grouping == ',' && base != 10)
    fail(ErrorType::kValueError, std::string("Cannot specify ',' with '") + spec.type + "'.");
  std::string digits = in_base(value, base, spec.type == 'X');
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  std::string prefix = sign_of(negative, spec);
  if (spec.alternate && base != 10) prefix += std::string("0") + spec.type;
  return place_number(prefix, digits, "", spec);
}

}  // namespace

Text format_value(const Value& value, const Text& text) {
  if (text.size() == 0) return text_of(value);
  if (value.is(Type::kStr)) return format_string(value.text(), parse_spec(text));
  require_defined(value);
  if (!value.number()) type_error("unsupported format string passed to " + type_name(value) + ".__format__");
  const Spec spec = parse_spec(text);
  constexpr std::string_view kInteger = "bcdoxXn", kReal = "eEfFgGn%";
  const bool real = value.is(Type::kFloat);
  if (spec.type != 0 && kReal.find(spec.type) == std::string_view::npos &&
      (real || kInteger.find(spec.type) == std::string_view::npos))
    fail(ErrorType::kValueError, std::string("Unknown format code '") + spec.type + "' for object of type '" +
                                     type_name(value) + "'");
  if (spec.type == 'c') fail(ErrorType::kUnsupported, "the format type 'c' is not supported");
  return real ? format_real(value.as_double(), spec) : format_integer(value.as_int(), spec);
}

Value format_method(Interpreter&, const Value& format, bool from_mapping, Arguments arguments) {
  const bool markup = format.as<Str>().markup;
  if (!from_mapping)
    return Value::string(Formatter(markup, arguments, nullptr).run(format.text(), 0), markup);
  Bound bound = sort_arguments("/mapping", std::move(arguments), "format_map()");
  const Arguments none;
  if (!bound[0].is(Type::kDict)) type_error("format_map() expects a dict, not " + type_name(bound[0]));
  return Value::string(Formatter(markup, none, &bound[0]).run(format.text(), 0), markup);
}

}  // namespace seer::jinja
