// Translates between the rule of the public headers and the rule that the gates' kernels follow. No other
// code does.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/block_mask.h"
#include "seer/sparse.h"

namespace seer {

// The result is absent for the dense rule.
std::optional<SelectRule> select_rule(const SparseRule& rule, bool last_block_dense, int64_t n_prompt_blocks);
SparseRule sparse_rule(const SelectRule& rule);

}  // namespace seer
