// A forward pass in float64, written like its formulas: no pages, no cache, no threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/models/tiny_model.h"

namespace seer::testing {

// Returns whether query token `i` sees key token `j` <= i in `layer` and `head`.
using SeesToken = std::function<bool(int64_t layer, int64_t head, int64_t i, int64_t j)>;

// Returns the logits of every token, [n_tokens][n_vocab]. Without `sees`, attention is causal and dense. With
// bf16_pages, rotated keys and values are rounded to bf16 before attention reads them.
std::vector<std::vector<double>> reference_forward(const TinyModel& model, const std::vector<int32_t>& ids,
                                                   const SeesToken& sees = {}, bool bf16_pages = false);

}  // namespace seer::testing
