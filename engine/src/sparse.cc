#include "seer/sparse.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <optional>

namespace seer {
namespace {

constexpr const char* kForms =
    "expected dense, threshold=T or head_threshold=T (0 <= T < 1), nz_ratio=R or nz_ratio_row=R (0 < R <= 1)";

constexpr const char* kDecodeForms =
    "expected dense, budget=N (N tokens, from 1 on), threshold=T (0 <= T < 1) or ratio=R (0 < R <= 1)";
constexpr double kMostTokens = 1e9;  // of a budget

template <class Method>
struct Name {
  const char* text;
  Method method;
};
constexpr Name<SparseRule::Method> kNames[] = {{"threshold", SparseRule::Method::kThreshold},
                                               {"head_threshold", SparseRule::Method::kHeadThreshold},
                                               {"nz_ratio", SparseRule::Method::kNzRatio},
                                               {"nz_ratio_row", SparseRule::Method::kNzRatioRow}};
constexpr Name<SparseDecodeRule::Method> kDecodeNames[] = {
    {"threshold", SparseDecodeRule::Method::kThreshold},
    {"budget", SparseDecodeRule::Method::kBudget},
    {"ratio", SparseDecodeRule::Method::kRatio}};

std::optional<double> parse_value(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Reads "dense" or "name=value" with one of the names and a value that is in its method's range. Returns
// nothing if the text is neither.
template <class Rule, class Names, class InRange>
std::optional<Rule> parse_rule(std::string_view text, const Names& names, const InRange& in_range) {
  if (text == "dense") return Rule();
  const size_t eq = text.find('=');
  if (eq == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(0, eq);
  const auto named =
      std::find_if(std::begin(names), std::end(names), [&](const auto& known) { return name == known.text; });
  const std::optional<double> value = parse_value(text.substr(eq + 1));
  if (named == std::end(names) || !value || !in_range(named->method, *value)) return std::nullopt;
  return Rule{named->method, *value};
}

template <class Names, class Method>
std::string rule_text(const Names& names, Method method, double value) {
  for (const auto& known : names) {
    if (known.method != method) continue;
    // These are the fewest digits that parse() reads back as the same value, whatever the program's locale. A
    // number of tokens is written out: 8000 would be "8e+03".
    char digits[64];
    const bool whole = std::abs(value) <= kMostTokens && std::trunc(value) == value;
    const auto end =
        whole ? std::to_chars(digits, digits + sizeof digits, static_cast<int64_t>(value)).ptr
              : std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general).ptr;
    return std::string(known.text) + '=' + std::string(digits, end);
  }
  return "dense";
}

bool in_unit_range(bool from_zero, double value) {
  return from_zero ? value >= 0.0 && value < 1.0 : value > 0.0 && value <= 1.0;
}

}  // namespace

SparseRule SparseRule::parse(std::string_view text) {
  const auto rule = parse_rule<SparseRule>(
      text, kNames, [](Method m, double v) { return in_unit_range(SparseRule{m}.by_threshold(), v); });
  if (!rule) throw Error(ErrorKind::kUsage, "sparse rule '" + std::string(text) + "': " + kForms);
  return *rule;
}

std::string SparseRule::to_string() const { return rule_text(kNames, method, value); }

SparseDecodeRule SparseDecodeRule::parse(std::string_view text) {
  const auto rule = parse_rule<SparseDecodeRule>(text, kDecodeNames, [](Method m, double v) {
    if (m == Method::kBudget) return v >= 1.0 && v <= kMostTokens && std::trunc(v) == v;
    return in_unit_range(m == Method::kThreshold, v);
  });
  if (!rule)
    throw Error(ErrorKind::kUsage, "sparse rule for decoding '" + std::string(text) + "': " + kDecodeForms);
  return *rule;
}

std::string SparseDecodeRule::to_string() const { return rule_text(kDecodeNames, method, value); }

}  // namespace seer
