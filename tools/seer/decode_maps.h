// Pictures of what the gates chose for decoded tokens, as PNG files.
#pragma once

#include <string>
#include <vector>

#include "tools/seer/decode_summary.h"

namespace seer::cli {

// Writes `dir`/decode-layer-00.png and so on for each layer in which gates choose: each KV head's kept blocks
// above its gate scores, with decoded tokens downwards and key blocks to the right. At the top of each are
// `title`, the sizes of a block and of a cell, and the scales of the colours. `first` is the first decoded
// token's position. Creates `dir` if it is missing. Returns the number of files. Throws Error{kRuntime} if
// one cannot be written.
int64_t write_decode_maps(const std::string& dir, const std::string& title, int64_t first,
                          int64_t block_tokens, const std::vector<DecodeSummary>& layers);

}  // namespace seer::cli
