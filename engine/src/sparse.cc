#include "seer/sparse.h"

#include <charconv>

namespace seer {
namespace {

constexpr const char* kForms = "expected dense, threshold=T (0 <= T < 1) or nz_ratio=R (0 < R <= 1)";

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
  if (name == "threshold" && rule.value >= 0.0 && rule.value < 1.0) {
    rule.method = Method::kThreshold;
  } else if (name == "nz_ratio" && rule.value > 0.0 && rule.value <= 1.0) {
    rule.method = Method::kNzRatio;
  } else {
    fail();
  }
  return rule;
}

std::string SparseRule::to_string() const {
  if (method == Method::kDense) return "dense";
  // Shortest digits that parse() reads back as the same value, whatever the program's locale.
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general).ptr;
  return (method == Method::kThreshold ? "threshold=" : "nz_ratio=") + std::string(digits, end);
}

}  // namespace seer
