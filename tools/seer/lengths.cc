#include "tools/seer/lengths.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "seer/error.h"

namespace seer::cli {
namespace {

constexpr int64_t kMaxLength = int64_t{1} << 31;
constexpr size_t kMaxCount = 1000;

[[noreturn]] void fail(std::string_view item) {
  throw Error(ErrorKind::kUsage, "'" + std::string(item) +
                                     "' is not a list of lengths; expected N, FIRST-LAST, FIRST-LAST+STEP or "
                                     "FIRST-LAST*FACTOR, separated by commas (for example 512,1024-8192*2)");
}

int64_t parse_number(std::string_view text, std::string_view item) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > kMaxLength) fail(item);
  return value;
}

void append(std::vector<int64_t>& lengths, int64_t value) {
  if (std::find(lengths.begin(), lengths.end(), value) != lengths.end()) return;
  if (lengths.size() == kMaxCount)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxCount) + " lengths; give a larger step");
  lengths.push_back(value);
}

void append_item(std::vector<int64_t>& lengths, std::string_view item) {
  const size_t dash = item.find('-');
  if (dash == std::string_view::npos) return append(lengths, parse_number(item, item));
  const std::string_view rest = item.substr(dash + 1);
  const size_t op = rest.find_first_of("+*");
  const int64_t first = parse_number(item.substr(0, dash), item);
  const int64_t last = parse_number(rest.substr(0, op), item);
  const bool multiply = op != std::string_view::npos && rest[op] == '*';
  const int64_t step = op == std::string_view::npos ? 1 : parse_number(rest.substr(op + 1), item);
  // These steps never arrive at the end: +0, *0, *1, and 0 times anything.
  if (first > last || step < (multiply ? 2 : 1) || (multiply && first == 0)) fail(item);
  for (int64_t value = first; value <= last; value = multiply ? value * step : value + step)
    append(lengths, value);
}

}  // namespace

std::vector<int64_t> parse_lengths(std::string_view text) {
  std::vector<int64_t> lengths;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    append_item(lengths, text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lengths;
}

}  // namespace seer::cli
