#include "seer/sparse.h"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace seer {
namespace {

constexpr const char* kForms =
    "expected dense, threshold=T (0 <= T < 1), nz_ratio=R or nz_ratio_row=R (0 < R <= 1)";

struct Name {
  const char* text;
  SparseRule::Method method;
};
constexpr Name kNames[] = {{"threshold", SparseRule::Method::kThreshold},
                           {"nz_ratio", SparseRule::Method::kNzRatio},
                           {"nz_ratio_row", SparseRule::Method::kNzRatioRow}};

double parse_value(std::string_view text, std::string_view rule) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorKind::kUsage, "sparse rule '" + std::string(rule) + "': " + kForms);
  return value;
}

}  // namespace

SparseRule SparseRule::parse(std::string_view text) {
  const auto fail = [&] {
    throw Error(ErrorKind::kUsage, "sparse rule '" + std::string(text) + "': " + kForms);
  };
  SparseRule rule;
  if (text == "dense") return rule;
  const size_t eq = text.find('=');
  if (eq == std::string_view::npos) fail();
  const std::string_view name = text.substr(0, eq);
  rule.value = parse_value(text.substr(eq + 1), text);
  const auto named = std::find_if(std::begin(kNames), std::end(kNames),
                                  [&](const Name& known) { return name == known.text; });
  if (named == std::end(kNames)) fail();
  rule.method = named->method;
  const bool in_range = rule.method == Method::kThreshold ? rule.value >= 0.0 && rule.value < 1.0
                                                          : rule.value > 0.0 && rule.value <= 1.0;
  if (!in_range) fail();
  return rule;
}

std::string SparseRule::to_string() const {
  for (const Name& known : kNames) {
    if (known.method != method) continue;
    // These are the fewest digits that parse() reads back as the same value, whatever the program's locale.
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general).ptr;
    return std::string(known.text) + '=' + std::string(digits, end);
  }
  return "dense";
}

}  // namespace seer
