// POST /block_map: which blocks of keys the gates keep for each block of queries of a prompt.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/api_request.h"
#include "tools/seer/serve/page_turns.h"

namespace seer::serve {

// The limit of a map's rows and columns. A longer prompt has cells of several blocks, so that an answer has
// at most 0.6 MB, however long the prompt is.
inline constexpr int64_t kMaxMapSide = 256;

struct BlockMapRequest {
  ApiRequest generation;  // only the fields that make the prompt, and `sparse`, are used
  int64_t layer = 0;
  std::optional<int64_t> head;  // absent: all heads of the layer
  int64_t max_side = 128;       // in cells
};

// Reads a request's body. It has the fields of a chat if it has `messages`, otherwise those of a completion,
// and besides these `layer`, `head` and `max_side`. Throws ApiError (400).
BlockMapRequest parse_block_map(Json body);

// Returns the rule by which the map is made. Throws ApiError (400) if the prompt would be dense, or if the
// model has no such layer or head.
SparseRule check_block_map(const BlockMapRequest& request, const std::optional<SparseRule>& standard_rule,
                           const ModelInfo& model);

// Returns whether a map of `n_tokens` may leave too few pages for a generation.
bool takes_pages_of_generations(int64_t n_tokens, const EngineInfo& info);

// Computes the prompt and returns the map as JSON. `check` is called between layers and chunks, and its
// errors are passed on. Throws ApiError (400) if the prompt is shorter than a block.
std::string block_map(const BlockMapRequest& request, const std::vector<int32_t>& prompt,
                      const SparseRule& rule, const std::string& model_name, Engine* engine,
                      const std::function<void()>& check);

}  // namespace seer::serve
