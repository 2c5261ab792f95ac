// Methods of strings.
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/format.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

// The string whose method is called, and the call's arguments.
struct Call {
  const Value& self;
  const Text& text;
  bool markup;
  Bound& arguments;

  bool given(size_t i) const { return i < arguments.size() && !arguments[i].missing(); }
  const Text& string(size_t i) const { return string_of(arguments[i], "the argument"); }
  // Returns argument i, or null if it is absent or None.
  const Text* optional_string(size_t i) const {
    return given(i) && !arguments[i].is(Type::kNone) ? &string(i) : nullptr;
  }
  int64_t integer(size_t i, int64_t fallback) const {
    return given(i) ? index_of(arguments[i], "the argument") : fallback;
  }
  Value result(Text result) const { return Value::string(std::move(result), markup); }
  Value results(std::vector<Text> parts, bool tuple = false) const {
    std::vector<Value> values;
    values.reserve(parts.size());
    for (Text& part : parts) values.push_back(result(std::move(part)));
    return tuple ? Value::tuple(std::move(values)) : Value::list(std::move(values));
  }
};

template <Side side>
Value strip_method(const Call& call) {
  return call.result(strip(call.text, call.optional_string(0), side));
}

Value split_method(const Call& call) {
  return call.results(split(call.text, call.optional_string(0), call.integer(1, -1)));
}

Value rsplit_method(const Call& call) {
  return call.results(split_right(call.text, call.optional_string(0), call.integer(1, -1)));
}

Value splitlines_method(const Call& call) {
  return call.results(split_lines(call.text, call.given(0) && truthy(call.arguments[0])));
}

// Sets the bytes of the characters [start, end), which are the arguments from number `first` on. Returns
// false if start lies beyond the end of the text.
bool part(const Call& call, size_t first, size_t* begin, size_t* end) {
  const auto size = static_cast<int64_t>(call.self.as<Str>().points());
  const auto bound = [&](size_t i, int64_t fallback) {
    if (!call.given(i) || call.arguments[i].is(Type::kNone)) return fallback;
    const int64_t at = index_of(call.arguments[i], "slice indices");
    return at < 0 ? std::max<int64_t>(at + size, 0) : at;
  };
  const int64_t from = bound(first, 0), to = std::min(bound(first + 1, size), size);
  if (from > size || from > to) return false;
  const bool ascii = call.self.as<Str>().ascii();
  *begin = ascii ? static_cast<size_t>(from) : byte_of_point(call.text.bytes, static_cast<size_t>(from));
  *end = ascii ? static_cast<size_t>(to) : byte_of_point(call.text.bytes, static_cast<size_t>(to));
  return true;
}

template <bool at_start>
bool has_affix(std::string_view text, const Text& affix) {
  if (affix.size() > text.size()) return false;
  Meter::touch(affix.size());
  return at_start ? text.substr(0, affix.size()) == affix.bytes
                  : text.substr(text.size() - affix.size()) == affix.bytes;
}

template <bool at_start>
Value affix_method(const Call& call) {
  size_t begin = 0, end = 0;
  const bool possible = part(call, 1, &begin, &end);
  const std::string_view text = call.text.view().substr(begin, end - begin);
  if (!call.arguments[0].is(Type::kTuple)) {
    const Text& affix = call.string(0);
    return Value::boolean(possible && has_affix<at_start>(text, affix));
  }
  const auto& affixes = call.arguments[0].items();
  return Value::boolean(std::any_of(affixes.begin(), affixes.end(), [&](const Value& affix) {
    return has_affix<at_start>(text, string_of(affix, "tuple for startswith or endswith")) && possible;
  }));
}

// Returns where the argument is found, in characters, or -1 if it is not.
template <bool from_right>
int64_t position(const Call& call) {
  size_t begin = 0, end = 0;
  const Text& pattern = call.string(0);
  if (!part(call, 1, &begin, &end)) return -1;
  const std::string_view text = call.text.view().substr(0, end);
  size_t found = 0;
  if (from_right) {
    Meter::step(static_cast<int64_t>((end - begin) * (pattern.size() + 1) / 32));
    found = text.substr(begin).rfind(pattern.bytes);
    if (found != std::string_view::npos) found += begin;
  } else {
    found = find_bytes(text, pattern.bytes, begin);
  }
  if (found == std::string_view::npos) return -1;
  return static_cast<int64_t>(count_points(text.substr(0, found)));
}

template <bool from_right>
Value find_method(const Call& call) {
  return Value::integer(position<from_right>(call));
}

template <bool from_right>
Value index_method(const Call& call) {
  const int64_t at = position<from_right>(call);
  if (at < 0) fail(ErrorType::kValueError, "substring not found");
  return Value::integer(at);
}

Value count_method(const Call& call) {
  size_t begin = 0, end = 0;
  const Text& pattern = call.string(0);
  if (!part(call, 1, &begin, &end)) return Value::integer(0);
  const std::string_view text = call.text.view().substr(0, end);
  if (pattern.size() == 0) return Value::integer(static_cast<int64_t>(count_points(text.substr(begin)) + 1));
  int64_t n = 0;
  for (size_t at = find_bytes(text, pattern.bytes, begin); at != std::string_view::npos;
       at = find_bytes(text, pattern.bytes, at + pattern.size())) {
    Meter::step();
    ++n;
  }
  return Value::integer(n);
}

Value replace_method(const Call& call) {
  const Text& old = call.string(0);
  const int64_t limit = call.integer(2, -1);
  if (!call.markup) return call.result(replace(call.text, old, call.string(1), limit));
  return call.result(replace(call.text, old, escaped(call.arguments[1]), limit));
}

Value join_method(const Call& call) {
  std::vector<Text> parts;
  for (const Value& item : items_of(call.arguments[0], "can only join an iterable")) {
    if (call.markup) {
      parts.push_back(escaped(item));
    } else {
      parts.push_back(string_of(item, "sequence item " + std::to_string(parts.size())));
    }
  }
  return call.result(join(call.text, parts));
}

template <Case to>
Value case_method(const Call& call) {
  return call.result(map_case(call.text, to));
}

template <Text (*map)(const Text&)>
Value map_method(const Call& call) {
  return call.result(map(call.text));
}

Value casefold_method(const Call& call) {
  // For characters other than ASCII, case folding differs from lower case, and utf8proc offers it only
  // together with normalisation.
  if (!call.self.as<Str>().ascii())
    fail(ErrorType::kUnsupported, "casefold() of characters other than ASCII is not supported");
  return call.result(map_case(call.text, Case::kLower));
}

Value removeprefix_method(const Call& call) {
  const Text& affix = call.string(0);
  return call.result(has_affix<true>(call.text.bytes, affix) ? cut(call.text, affix.size(), call.text.size())
                                                             : call.text);
}

Value removesuffix_method(const Call& call) {
  const Text& affix = call.string(0);
  return call.result(has_affix<false>(call.text.bytes, affix)
                         ? cut(call.text, 0, call.text.size() - affix.size())
                         : call.text);
}

Value partition_method(const Call& call) {
  const Text& separator = call.string(0);
  std::vector<Text> parts = split(call.text, &separator, 1);
  if (parts.size() == 1) return call.results({parts[0], Text{}, Text{}}, true);
  return call.results({parts[0], separator, parts[1]}, true);
}

Value rpartition_method(const Call& call) {
  const Text& separator = call.string(0);
  std::vector<Text> parts = split_right(call.text, &separator, 1);
  if (parts.size() == 1) return call.results({Text{}, Text{}, parts[0]}, true);
  return call.results({parts[0], separator, parts[1]}, true);
}

template <Side text_at>
Value pad_method(const Call& call) {
  const int64_t width = call.integer(0, 0);
  Text fill{" ", {}};
  if (call.given(1)) fill = call.string(1);
  if (count_points(fill.bytes) != 1) type_error("The fill character must be exactly one character long");
  return call.result(pad(call.text, width, text_at, fill));
}

Value zfill_method(const Call& call) {
  const bool sign = call.text.size() > 0 && (call.text.bytes[0] == '-' || call.text.bytes[0] == '+');
  TextBuilder out;
  if (sign) out.append(call.text, 0, 1);
  const int64_t width = call.integer(0, 0) - (sign ? 1 : 0);
  out.append(pad(cut(call.text, sign ? 1 : 0, call.text.size()), width, Side::kRight, Text{"0", {}}));
  return call.result(out.take());
}

Value expandtabs_method(const Call& call) {
  const int64_t tab = call.integer(0, 8);
  TextBuilder out;
  int64_t column = 0;
  for (size_t at = 0; at < call.text.size();) {
    const size_t next = at + point_size(call.text.bytes[at]);
    const char c = call.text.bytes[at];
    Meter::step();
    if (c == '\t') {
      const int64_t n = tab > 0 ? tab - column % tab : 0;
      if (n > 0) Meter::text(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) out.append(" ", from_messages(call.text, at, next));
      column += n;
    } else {
      out.append(call.text, at, next);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
    at = next;
  }
  return call.result(out.take());
}

template <bool (*holds)(int32_t)>
Value all_method(const Call& call) {
  const std::string& bytes = call.text.bytes;
  Meter::touch(bytes.size() * 4);
  for (size_t at = 0; at < bytes.size(); at += point_size(bytes[at]))
    if (!holds(point_at(bytes, at))) return Value::boolean(false);
  return Value::boolean(!bytes.empty());
}

bool is_alnum(int32_t point) {
  return is_alpha(point) || is_decimal(point) || is_digit(point) || is_numeric(point);
}

Value isprintable_method(const Call& call) {
  return Value::boolean(call.text.size() == 0 || all_method<is_printable>(call).as_bool());
}

Value isascii_method(const Call& call) { return Value::boolean(call.self.as<Str>().ascii()); }

Value isidentifier_method(const Call& call) {
  return Value::boolean(call.text.size() > 0 && is_identifier_start(point_at(call.text.bytes, 0)) &&
                        all_method<is_identifier_part>(call).as_bool());
}

template <bool upper>
Value case_test_method(const Call& call) {
  return Value::boolean(all_cased(call.text, upper));
}

Value istitle_method(const Call& call) {
  bool cased = false, in_word = false;
  const std::string& bytes = call.text.bytes;
  for (size_t at = 0; at < bytes.size(); at += point_size(bytes[at])) {
    Meter::step();
    const int32_t point = point_at(bytes, at);
    const bool capital = is_upper(point) || is_title(point), small = !capital && is_lower(point);
    if ((capital && in_word) || (small && !in_word)) return Value::boolean(false);
    in_word = capital || small;
    cased = cased || in_word;
  }
  return Value::boolean(cased);
}

struct Method {
  std::string_view name;
  std::string_view parameters;
  Value (*apply)(const Call& call);
};
constexpr Method kMethods[] = {
    {"strip", "/chars=", strip_method<Side::kBoth>},
    {"lstrip", "/chars=", strip_method<Side::kLeft>},
    {"rstrip", "/chars=", strip_method<Side::kRight>},
    {"split", "sep= maxsplit=", split_method},
    {"rsplit", "sep= maxsplit=", rsplit_method},
    {"splitlines", "keepends=", splitlines_method},
    {"startswith", "/prefix start= end=", affix_method<true>},
    {"endswith", "/suffix start= end=", affix_method<false>},
    {"replace", "/old new count=", replace_method},
    {"join", "/iterable", join_method},
    {"upper", "", case_method<Case::kUpper>},
    {"lower", "", case_method<Case::kLower>},
    {"title", "", map_method<title>},
    {"capitalize", "", map_method<capitalize>},
    {"swapcase", "", map_method<swap_case>},
    {"casefold", "", casefold_method},
    {"find", "/sub start= end=", find_method<false>},
    {"rfind", "/sub start= end=", find_method<true>},
    {"index", "/sub start= end=", index_method<false>},
    {"rindex", "/sub start= end=", index_method<true>},
    {"count", "/sub start= end=", count_method},
    {"removeprefix", "/prefix", removeprefix_method},
    {"removesuffix", "/suffix", removesuffix_method},
    {"partition", "/sep", partition_method},
    {"rpartition", "/sep", rpartition_method},
    {"center", "/width fillchar=", pad_method<Side::kBoth>},
    {"ljust", "/width fillchar=", pad_method<Side::kLeft>},
    {"rjust", "/width fillchar=", pad_method<Side::kRight>},
    {"zfill", "/width", zfill_method},
    {"expandtabs", "tabsize=", expandtabs_method},
    {"isdigit", "", all_method<is_digit>},
    {"isdecimal", "", all_method<is_decimal>},
    {"isnumeric", "", all_method<is_numeric>},
    {"isalpha", "", all_method<is_alpha>},
    {"isalnum", "", all_method<is_alnum>},
    {"isspace", "", all_method<is_space>},
    {"isprintable", "", isprintable_method},
    {"isascii", "", isascii_method},
    {"isidentifier", "", isidentifier_method},
    {"isupper", "", case_test_method<true>},
    {"islower", "", case_test_method<false>},
    {"istitle", "", istitle_method},
};

}  // namespace

bool all_cased(const Text& text, bool upper) {
  bool cased = false;
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    Meter::step();
    const int32_t point = point_at(text.bytes, at);
    if (is_title(point) || (upper ? is_lower(point) : is_upper(point))) return false;
    cased = cased || (upper ? is_upper(point) : is_lower(point));
  }
  return cased;
}

Value call_str_method(Interpreter& interpreter, const Function& method, Arguments arguments) {
  const Value self = method.self;  // a copy: nothing else may hold it once the arguments have been evaluated
  const bool markup = self.as<Str>().markup;
  if (method.name == "format" || method.name == "format_map")
    return format_method(interpreter, self, method.name == "format_map", std::move(arguments));
  const auto* entry = std::find_if(std::begin(kMethods), std::end(kMethods),
                                   [&](const Method& m) { return m.name == method.name; });
  Bound bound =
      sort_arguments(entry->parameters, std::move(arguments), "str." + std::string(method.name) + "()");
  return entry->apply({self, self.text(), markup, bound});
}

}  // namespace seer::jinja
