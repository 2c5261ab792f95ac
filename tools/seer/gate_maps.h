// Gate summaries as pictures: PNG files, and characters for a terminal.
#pragma once

#include <string>
#include <vector>

#include "tools/seer/gate_summary.h"

namespace seer::cli {

// Writes `dir`/overview.png, every layer's masks, and `dir`/layer-00.png and so on: for each head its mask
// above its gate scores. `title` heads each. Makes `dir` where it is missing. Returns how many files that
// were. Throws Error{kRuntime} where one cannot be written.
int64_t write_maps(const std::string& dir, const std::string& title, const std::vector<GateSummary>& layers);

// One head's mask (left) and scores (right) in `width` columns. `color`: half-block characters in 24-bit
// colours, else shades from " .:-=+*#%@".
std::string draw_map(const BlockMap& map, int64_t width, bool color);

}  // namespace seer::cli
