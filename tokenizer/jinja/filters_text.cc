// Filters that return texts.
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/select.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

bool is_markup(const Value& value) { return value.is(Type::kStr) && value.as<Str>().markup; }

// Returns a string as jinja2's soft-string functions do: it is markup if its operand is.
Value like(const Value& string, Text text) { return Value::string(std::move(text), is_markup(string)); }

Value trim(Interpreter&, const Value& value, Bound& arguments) {
  const Value string = soft_string(value);
  const bool given = !arguments[0].missing() && !arguments[0].is(Type::kNone);
  return like(string,
              strip(string.text(), given ? &string_of(arguments[0], "strip arg") : nullptr, Side::kBoth));
}

template <Case to>
Value change_case(Interpreter&, const Value& value, Bound&) {
  const Value string = soft_string(value);
  return like(string, map_case(string.text(), to));
}

Value capitalize_filter(Interpreter&, const Value& value, Bound&) {
  const Value string = soft_string(value);
  return like(string, capitalize(string.text()));
}

Value title_filter(Interpreter&, const Value& value, Bound&) {
  return Value::string(title_of_words(text_of(value)));
}

Value string_filter(Interpreter&, const Value& value, Bound&) { return soft_string(value); }

Value safe(Interpreter&, const Value& value, Bound&) { return Value::string(text_of(value), true); }

Value escape_filter(Interpreter&, const Value& value, Bound&) { return Value::string(escaped(value), true); }

Value force_escape(Interpreter&, const Value& value, Bound&) {
  return Value::string(escape(text_of(value)), true);
}

Value replace_filter(Interpreter&, const Value& value, Bound& arguments) {
  const int64_t limit =
      arguments[2].missing() || arguments[2].is(Type::kNone) ? -1 : index_of(arguments[2], "replace()");
  return Value::string(replace(text_of(value), text_of(arguments[0]), text_of(arguments[1]), limit));
}

Value join_filter(Interpreter&, const Value& value, Bound& arguments) {
  const Text separator = arguments[0].missing() ? Text{} : text_of(arguments[0]);
  const bool by_attribute = !arguments[1].missing() && !arguments[1].is(Type::kNone);
  const AttributePath path(by_attribute ? arguments[1] : Value::none());
  std::vector<Text> parts;
  Each each(value, by_attribute ? "" : "can only join an iterable");
  for (Value item; each.next(&item);) parts.push_back(text_of(path.of(item)));
  return Value::string(join(separator, parts));
}

Value indent(Interpreter&, const Value& value, Bound& arguments) {
  Text indention;
  if (arguments[0].is(Type::kStr)) {
    indention = arguments[0].text();
  } else {
    const int64_t width = arguments[0].missing() ? 4 : index_of(arguments[0], "indent()");
    indention = pad(Text{}, width, Side::kRight, Text{" ", {}});
  }
  const bool first = flag(arguments[1]), blank = flag(arguments[2]), markup = is_markup(value);
  require_defined(value);
  if (!value.is(Type::kStr)) type_error("indent() takes a string, not " + type_name(value));
  TextBuilder with_end;
  with_end.append(value.text());
  with_end.append('\n');
  TextBuilder out;
  if (first) out.append(indention);
  bool begun = false;
  for (const Text& line : split_lines(with_end.text(), false)) {
    if (begun) out.append('\n');
    if (begun && (blank || line.size() != 0)) out.append(indention);
    out.append(line);
    begun = true;
  }
  return Value::string(out.take(), markup);
}

Value center(Interpreter&, const Value& value, Bound& arguments) {
  const Value string = soft_string(value);
  const int64_t width = arguments[0].missing() ? 80 : index_of(arguments[0], "center()");
  return like(string, pad(string.text(), width, Side::kBoth, Text{" ", {}}));
}

Value format_filter(Interpreter&, const Value& value, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    fail(ErrorType::kRuntimeError, "can't handle positional and keyword arguments at the same time");
  const Value string = soft_string(value);
  if (arguments.named.empty()) return format_percent(string, Value::tuple(std::move(arguments.positional)));
  std::vector<std::pair<Value, Value>> items;
  for (auto& [name, given] : arguments.named) items.emplace_back(Value::string(name), std::move(given));
  return format_percent(string, make_dict(std::move(items)));
}

Value truncate(Interpreter&, const Value& value, Bound& arguments) {
  const int64_t length = arguments[0].missing() ? 255 : index_of(arguments[0], "truncate()");
  const bool kill_words = flag(arguments[1]);
  const Value end = arguments[2].missing() ? Value::string("...") : arguments[2];
  const int64_t leeway =
      arguments[3].missing() || arguments[3].is(Type::kNone) ? 5 : index_of(arguments[3], "truncate()");
  const int64_t end_length = length_of(end);
  if (length < end_length)
    fail(ErrorType::kRuntimeError, "truncate: the length is less than that of the end");
  if (leeway < 0) fail(ErrorType::kRuntimeError, "truncate: expected leeway >= 0");
  if (length_of(value) <= length + leeway) return value;
  if (!value.is(Type::kStr) || !end.is(Type::kStr)) type_error("truncate: expected a string");
  const Value none = Value::none();
  const Value part = get_slice(value, none, Value::integer(length - end_length), none);
  if (kill_words) return add(part, end);
  const Text space{" ", {}};
  return add(like(part, split_right(part.text(), &space, 1)[0]), end);
}

Value word_count(Interpreter&, const Value& value, Bound&) {
  const Text text = text_of(value);
  int64_t n = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    Meter::step();
    const bool word = is_word(point_at(text.bytes, at));
    n += word && !in_word ? 1 : 0;
    in_word = word;
  }
  return Value::integer(n);
}

void append_url(TextBuilder* out, const Value& value, bool for_query) {
  const Text text = text_of(value);
  constexpr std::string_view kSafe = "_.-~/";
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes[i];
    const bool marked = from_messages(text, i, i + 1);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (kSafe.find(c) != std::string_view::npos && !(c == '/' && for_query));
    Meter::step(2);
    if (plain) {
      out->append(std::string_view(&c, 1), marked);
    } else if (c == ' ' && for_query) {
      out->append("+", marked);
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      const char escape[] = {'%', kHex[byte >> 4], kHex[byte & 15]};
      out->append({escape, 3}, marked);
    }
  }
}

Value url_encode(Interpreter&, const Value& value, Bound&) {
  TextBuilder out;
  if (value.is(Type::kStr) || !iterable(value)) {
    append_url(&out, value, false);
    return Value::string(out.take());
  }
  bool first = true;
  std::vector<Value> pairs;
  if (value.is(Type::kDict)) {
    for (const auto& [key, item] : value.as<Dict>().items) pairs.push_back(Value::tuple({key, item}));
  } else {
    pairs = items_of(value);
  }
  for (const Value& pair : pairs) {
    const std::vector<Value> two = items_of(pair, "cannot unpack non-iterable object");
    if (two.size() != 2) fail(ErrorType::kValueError, "urlencode: expected pairs");
    if (!first) out.append('&');
    first = false;
    append_url(&out, two[0], true);
    out.append('=');
    append_url(&out, two[1], true);
  }
  return Value::string(out.take());
}

// Reads the options of tojson. json.dumps checks the separators' types only if it has more to write than a
// string.
JsonOptions json_options(const Value& value, const Bound& arguments) {
  JsonOptions options;
  options.ensure_ascii = flag(arguments[0]);
  options.sort_keys = flag(arguments[3]);
  const Value& indent = arguments[1];
  if (!indent.missing() && !indent.is(Type::kNone)) {
    options.indented = true;
    options.indent = indent.is(Type::kStr)
                         ? indent.text()
                         : pad(Text{}, index_of(indent, "tojson: indent"), Side::kRight, Text{" ", {}});
  }
  options.item_separator = Text{options.indented ? "," : ", ", {}};
  options.key_separator = Text{": ", {}};
  if (!arguments[2].missing() && !arguments[2].is(Type::kNone)) {
    const std::vector<Value> two = items_of(arguments[2]);
    if (two.size() != 2) fail(ErrorType::kValueError, "tojson: separators must be two");
    if (value.is(Type::kStr)) return options;
    options.item_separator = string_of(two[0], "tojson: a separator");
    options.key_separator = string_of(two[1], "tojson: a separator");
  }
  return options;
}

Value to_json(Interpreter&, const Value& value, Bound& arguments) {
  TextBuilder out;
  append_json(&out, value, json_options(value, arguments));
  return Value::string(out.take());
}

constexpr FilterEntry kTextFilters[] = {
    {"trim", "chars=", trim},
    {"upper", "", change_case<Case::kUpper>},
    {"lower", "", change_case<Case::kLower>},
    {"capitalize", "", capitalize_filter},
    {"title", "", title_filter},
    {"string", "", string_filter},
    {"safe", "", safe},
    {"e", "", escape_filter},
    {"escape", "", escape_filter},
    {"forceescape", "", force_escape},
    {"replace", "old new count=", replace_filter},
    {"join", "d= attribute=", join_filter},
    {"indent", "width= first= blank=", indent},
    {"center", "width=", center},
    {"format", "", nullptr, format_filter},
    {"truncate", "length= killwords= end= leeway=", truncate},
    {"wordcount", "", word_count},
    {"urlencode", "", url_encode},
    {"tojson", "ensure_ascii= indent= separators= sort_keys=", to_json},
};

}  // namespace

FilterList text_filters() { return {kTextFilters, std::size(kTextFilters)}; }

}  // namespace seer::jinja
