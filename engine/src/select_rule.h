// Between the rule that the public headers name and the one that the gates' kernels follow. Nothing else
// translates one into the other.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/block_mask.h"
#include "seer/sparse.h"

namespace seer {

// Absent for the dense rule.
std::optional<SelectRule> select_rule(const SparseRule& rule, bool last_block_dense, int64_t n_prompt_blocks);
SparseRule sparse_rule(const SelectRule& rule);

}  // namespace seer
