// Pictures of gate summaries: PNG files, and characters for a terminal.
#pragma once

#include <string>
#include <vector>

#include "tools/seer/gate_summary.h"

namespace seer::cli {

// Writes `dir`/overview.png with every layer's masks, and `dir`/layer-00.png and so on with each head's mask
// above its gate scores. `title` is written at the top of each. Creates `dir` if it is missing. Returns the
// number of files. Throws Error{kRuntime} if one cannot be written.
int64_t write_maps(const std::string& dir, const std::string& title, const std::vector<GateSummary>& layers);

// Draws one head's mask (left) and scores (right) in `width` columns. With `color` it uses half-block
// characters in 24-bit colours, else shades from " .:-=+*#%@".
std::string draw_map(const BlockMap& map, int64_t width, bool color);

}  // namespace seer::cli
