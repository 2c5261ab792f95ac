// Translates between the rules of the public headers and the rules that the gates' kernels follow. No other
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
DecodeRule decode_rule(const SparseDecodeRule& rule);
SparseDecodeRule sparse_decode_rule(const DecodeRule& rule);

}  // namespace seer
