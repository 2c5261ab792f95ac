// Pictures of gate summaries: PNG files, and characters for a terminal.
#pragma once

#include <string>
#include <vector>

#include "tools/seer/gate_summary.h"

namespace seer::cli {

// Writes `dir`/overview.png with every layer's masks, and `dir`/layer-00.png and so on with each head's mask
// above its gate scores. At the top of each are `title`, the sizes of a block and of a cell, and the scales
// of the colours. `block_tokens`: tokens of a block. Creates `dir` if it is missing. Returns the number of
// files. Throws Error{kRuntime} if one cannot be written.
int64_t write_maps(const std::string& dir, const std::string& title, int64_t block_tokens,
                   const std::vector<GateSummary>& layers);

// Draws one head's mask (left) and scores (right) in `width` columns. With `color` it uses half-block
// characters in 24-bit colours, else shades from " .:-=+*#%@".
std::string draw_map(const BlockMap& map, int64_t width, bool color);

}  // namespace seer::cli
