// Lists of lengths in llama-bench's notation.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace seer::cli {

// Parses "512", "512,1024", "512-2048+512" (512 1024 1536 2048), "512-8192*2" (512 1024 ... 8192) or "5-8" (5
// 6 7 8). Keeps the written order and drops repeats. Throws Error{kUsage} for anything else, a number above
// 2^31, or more than 1000 lengths.
std::vector<int64_t> parse_lengths(std::string_view text);

}  // namespace seer::cli
