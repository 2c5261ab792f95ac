#include "tokenizer/jinja/repr.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/macro.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/unicode.h"

namespace seer::jinja {
namespace {

constexpr int kMaxShownDepth = 400;  // this is needed because a namespace can contain itself

[[noreturn]] void no_text(const Value& value) {
  fail(ErrorType::kUnsupported,
       "writing a " + type_name(value) + " is not supported (Python shows its address in memory)");
}

void append_escape(TextBuilder* out, int32_t point, bool marked) {
  Meter::step(4);
  char escape[16];
  const char* form = point < 0x100 ? "\\x%02x" : point < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(escape, sizeof escape, form, static_cast<unsigned>(point));
  out->append(escape, marked);
}

void append_quoted(TextBuilder* out, const Text& text) {
  const bool has_single = text.bytes.find('\'') != std::string::npos;
  const char quote = has_single && text.bytes.find('"') == std::string::npos ? '"' : '\'';
  out->append(quote);
  size_t plain = 0;
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    const int32_t point = point_at(text.bytes, at);
    if (point != '\\' && point != quote && is_printable(point)) continue;
    out->append(text, plain, at);
    plain = at + point_size(text.bytes[at]);
    const bool marked = from_messages(text, at, plain);
    if (point == '\\' || point == quote) {
      const char escape[] = {'\\', static_cast<char>(point)};
      out->append({escape, 2}, marked);
    } else if (point == '\n' || point == '\r' || point == '\t') {
      out->append(point == '\n' ? "\\n" : point == '\r' ? "\\r" : "\\t", marked);
    } else {
      append_escape(out, point, marked);
    }
  }
  out->append(text, plain, text.size());
  out->append(quote);
}

void append_items(TextBuilder* out, const std::vector<Value>& items, std::string_view open,
                  std::string_view close, int depth) {
  out->append(open);
  for (size_t i = 0; i < items.size(); ++i) {
    Meter::step();
    if (i > 0) out->append(", ");
    append_repr(out, items[i], depth + 1);
  }
  out->append(close);
}

void append_dict(TextBuilder* out, const Dict& dict, int depth) {
  out->append('{');
  bool first = true;
  for (const auto& [key, value] : dict.items) {
    Meter::step();
    if (!first) out->append(", ");
    first = false;
    append_repr(out, key, depth + 1);
    out->append(": ");
    append_repr(out, value, depth + 1);
  }
  out->append('}');
}

void append_view(TextBuilder* out, const View& view, const std::string& name, int depth) {
  std::vector<Value> items;
  for (size_t i = 0; i < view.size(); ++i) items.push_back(view.at(i));
  append_items(out, items, name + "([", "])", depth);
}

std::string range_repr(const Range& range) {
  return "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop) +
         (range.step == 1 ? "" : ", " + std::to_string(range.step)) + ")";
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  char* const end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  std::string sign = text[0] == '-' ? "-" : "", digits;
  for (const char c : text.substr(0, e))
    if (c >= '0' && c <= '9') digits.push_back(c);
  if (exponent < -4 || exponent >= 16) {
    std::string result = sign + digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "");
    std::snprintf(buffer, sizeof buffer, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return result + buffer;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string in_quotes(std::string_view text) {
  TextBuilder builder;
  append_quoted(&builder, Text{std::string(text), {}});
  return builder.take().bytes;
}

void append_str(TextBuilder* out, const Value& value) {
  if (value.is(Type::kStr)) return out->append(value.text());
  if (value.is(Type::kUndefined)) return;
  append_repr(out, value);
}

void append_repr(TextBuilder* out, const Value& value, int depth) {
  if (depth > kMaxShownDepth)
    fail(ErrorType::kRuntimeError, "the value to be written holds itself or is nested too deep");
  switch (value.type()) {
    case Type::kUndefined:
      return out->append("Undefined");
    case Type::kNone:
      return out->append("None");
    case Type::kBool:
      return out->append(value.as_bool() ? "True" : "False");
    case Type::kInt:
      return out->append(std::to_string(value.as_int()));
    case Type::kFloat:
      return out->append(float_repr(value.as_double()));
    case Type::kStr:
      if (value.as<Str>().markup) out->append("Markup(");
      append_quoted(out, value.text());
      if (value.as<Str>().markup) out->append(')');
      return;
    case Type::kList:
      return append_items(out, value.items(), "[", "]", depth);
    case Type::kTuple:
      return append_items(out, value.items(), "(", value.items().size() == 1 ? ",)" : ")", depth);
    case Type::kDict:
      return append_dict(out, value.as<Dict>(), depth);
    case Type::kRange:
      return out->append(range_repr(value.as<Range>()));
    case Type::kView:
      return append_view(out, value.as<View>(), type_name(value), depth);
    case Type::kNamespace:
      out->append("<Namespace ");
      append_dict(out, value.as<Namespace>().dict.as<Dict>(), depth);
      return out->append('>');
    case Type::kMacro:
      return out->append(macro_repr(value));
    case Type::kLoop:
      return out->append(loop_repr(value));
    default:
      no_text(value);
  }
}

Text text_of(const Value& value) {
  if (value.is(Type::kStr)) return value.text();
  Meter::step(4);
  TextBuilder builder;
  append_str(&builder, value);
  return builder.take();
}

Value soft_string(const Value& value) { return value.is(Type::kStr) ? value : Value::string(text_of(value)); }

}  // namespace seer::jinja
