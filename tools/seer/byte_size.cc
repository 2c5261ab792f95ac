#include "tools/seer/byte_size.h"

#include <charconv>
#include <cmath>
#include <string_view>

#include "seer/error.h"

namespace seer::cli {
namespace {

// Returns how many bytes a unit means; 0 if there is no such unit.
double bytes_of_unit(std::string_view unit) {
  constexpr std::string_view kUnits = "KMGT";
  if (unit.empty() || unit == "B") return 1.0;
  const size_t at = kUnits.find(unit.front());
  if (at == std::string_view::npos || (unit.size() > 1 && unit.substr(1) != "iB")) return 0.0;
  return std::ldexp(1.0, 10 * (static_cast<int>(at) + 1));
}

}  // namespace

int64_t parse_bytes(const std::string& text) {
  double number = 0.0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const double unit = bytes_of_unit({stopped, static_cast<size_t>(end - stopped)});
  const double bytes = std::floor(number * unit);
  constexpr double kMost = 0x1p60;
  if (error == std::errc() && bytes >= 1.0 && bytes <= kMost) return static_cast<int64_t>(bytes);
  throw Error(ErrorKind::kUsage,
              "expected a size such as 64GiB (units: KiB, MiB, GiB, TiB), found '" + text + "'");
}

Setter into_bytes(int64_t& target) {
  return [&target](const std::string& value) { target = parse_bytes(value); };
}

Setter into_dir_and_bytes(std::string& dir, int64_t& bytes) {
  return [&dir, &bytes](const std::string& value) {
    const size_t comma = value.rfind(',');
    if (comma == std::string::npos || comma == 0)
      throw Error(ErrorKind::kUsage, "expected DIR,SIZE, such as pages,64GiB, found '" + value + "'");
    bytes = parse_bytes(value.substr(comma + 1));
    dir = value.substr(0, comma);
  };
}

}  // namespace seer::cli
