// Cases of attention with block maxima, and in float64 the results that this attention and the ground truth
// made of it must have.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/kernels/cases.h"

namespace seer::testing {

// Dense prefills that end inside blocks, tiles and groups of eight blocks. A GPU's kernels take them all.
std::vector<AttentionCase> block_maxima_cases(DType activation);
// Prefills with more bundles of three query blocks than an H200 has multiprocessors (132), so that the
// ordinary kernel of Hopper takes bundles as well.
std::vector<AttentionCase> many_head_maxima_cases(DType activation);

// The maxima of one prefill; row_capacity floats for each row. What need not be written is kAnything.
struct RowMaximaValues {
  int64_t n_heads = 0, n_tokens = 0, start = 0, page = 0, row_capacity = 0;
  std::vector<double> maxima;    // [n_heads, n_tokens, row_capacity]
  std::vector<double> log_sums;  // [n_heads, n_tokens]
  int64_t own_block(int64_t token) const { return (start + token) / page; }
  int64_t n_row_blocks() const { return (n_tokens + page - 1) / page; }
};

// Returns maxima that no attention has computed: random logarithms of probabilities. In some rows the
// probabilities of all blocks but the last are too small for float32. Values are those of float32.
RowMaximaValues random_maxima(Random& random, int64_t n_heads, int64_t n_tokens, int64_t start, int64_t page);

namespace reference {

RowMaximaValues block_maxima(const AttentionCase& c, size_t prefill, int64_t row_capacity);
std::vector<double> prefill_truth(const RowMaximaValues& rows, int64_t n_blocks);
std::vector<double> decode_truth(const RowMaximaValues& rows, int64_t n_kv_heads,
                                 const std::vector<int32_t>& chosen, int64_t n_blocks);

}  // namespace reference
}  // namespace seer::testing
