#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {
namespace {

std::string float_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

std::string unit_escape(char16_t unit) {
  char escape[8];
  std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(unit));
  return escape;
}

std::string json_escape(int32_t point) {
  constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
  const size_t at = point < 0x80 ? kSpecial.find(static_cast<char>(point)) : std::string_view::npos;
  if (at != std::string_view::npos) return {'\\', kLetters[at]};
  if (point < 0x10000) return unit_escape(static_cast<char16_t>(point));
  const int32_t rest = point - 0x10000;
  return unit_escape(static_cast<char16_t>(0xD800 | (rest >> 10))) +
         unit_escape(static_cast<char16_t>(0xDC00 | (rest & 0x3FF)));
}

void append_string(TextBuilder* out, const Text& text, bool ensure_ascii) {
  out->append('"');
  size_t plain = 0;
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text.bytes[at]);
    const bool escape = byte < 0x20 || byte == '"' || byte == '\\' || (ensure_ascii && byte >= 0x7F);
    const size_t end = at + (escape ? point_size(text.bytes[at]) : 1);
    if (escape) {
      out->append(text, plain, at);
      out->append(json_escape(point_at(text.bytes, at)), from_messages(text, at, end));
      plain = end;
    }
    at = end;
  }
  out->append(text, plain, text.size());
  out->append('"');
}

void append_newline(TextBuilder* out, const JsonOptions& options, int level) {
  if (!options.indented) return;
  out->append('\n');
  for (int i = 0; i < level; ++i) out->append(options.indent);
}

void append_list(TextBuilder* out, const std::vector<Value>& items, const JsonOptions& options, int level) {
  if (items.empty()) return out->append("[]");
  out->append('[');
  for (size_t i = 0; i < items.size(); ++i) {
    Meter::step();
    if (i > 0) out->append(options.item_separator);
    append_newline(out, options, level + 1);
    append_json(out, items[i], options, level + 1);
  }
  append_newline(out, options, level);
  out->append(']');
}

void append_key(TextBuilder* out, const Value& key, const JsonOptions& options) {
  if (key.is(Type::kStr)) return append_string(out, key.text(), options.ensure_ascii);
  if (!key.number() && !key.is(Type::kNone))
    type_error("keys must be str, int, float, bool or None, not " + type_name(key));
  out->append('"');
  append_json(out, key, options);
  out->append('"');
}

void append_dict(TextBuilder* out, const Dict& dict, const JsonOptions& options, int level) {
  if (dict.items.empty()) return out->append("{}");
  std::vector<const std::pair<Value, Value>*> items;
  for (const auto& item : dict.items) items.push_back(&item);
  if (options.sort_keys)
    std::stable_sort(items.begin(), items.end(), [](const auto* a, const auto* b) {
      Meter::step();
      return less(a->first, b->first);
    });
  out->append('{');
  for (size_t i = 0; i < items.size(); ++i) {
    Meter::step();
    if (i > 0) out->append(options.item_separator);
    append_newline(out, options, level + 1);
    append_key(out, items[i]->first, options);
    out->append(options.key_separator);
    append_json(out, items[i]->second, options, level + 1);
  }
  append_newline(out, options, level);
  out->append('}');
}

}  // namespace

void append_json(TextBuilder* out, const Value& value, const JsonOptions& options, int level) {
  switch (value.type()) {
    case Type::kNone:
      return out->append("null");
    case Type::kBool:
      return out->append(value.as_bool() ? "true" : "false");
    case Type::kInt:
      return out->append(std::to_string(value.as_int()));
    case Type::kFloat:
      return out->append(float_json(value.as_double()));
    case Type::kStr:
      return append_string(out, value.text(), options.ensure_ascii);
    case Type::kList:
    case Type::kTuple:
      return append_list(out, value.items(), options, level);
    case Type::kDict:
      return append_dict(out, value.as<Dict>(), options, level);
    default:
      type_error("Object of type " + type_name(value) + " is not JSON serializable");
  }
}

}  // namespace seer::jinja
