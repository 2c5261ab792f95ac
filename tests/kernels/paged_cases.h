// Makes the steps, pages and rotations of cases, for the files that list cases of operations on pages.
#pragma once

#include <functional>
#include <vector>

#include "tests/kernels/cases.h"

namespace seer::testing {

struct PagedShape {
  int64_t n_heads, n_kv_heads, d_head, page;
};

// Groups of 1, 4 and 8 query heads for a key head, and pages smaller than, equal to and larger than the CPU's
// 64 query lanes.
inline constexpr PagedShape kPagedShapes[] = {{8, 2, 64, 64},  {4, 4, 96, 64},  {8, 1, 128, 64},
                                              {4, 1, 64, 16},  {8, 2, 96, 128}, {2, 2, 8, 32},
                                              {2, 1, 256, 64}, {8, 1, 64, 128}};

// Groups of 7 and of 5 query heads for a key head, as in Qwen2.5 of 7B, of 0.5B and (with fewer heads) of 32B
// parameters.
inline constexpr PagedShape kOddGroups[] = {{28, 4, 128, 64}, {14, 2, 64, 64}, {10, 2, 128, 64}};

// A prefill of n_tokens that begins at position start.
struct Run {
  int64_t start, n_tokens;
};

void set_shape(PagedCase* c, const PagedShape& shape);
// Makes the segments and the name. Rows are in the order of the step. Page ids are shuffled and leave out
// some, which belong to no sequence.
void lay_out(PagedCase* c, Random& random, const std::vector<Run>& prefills,
             const std::vector<int64_t>& decode_starts);
// Returns a pool of pages in which each sequence has n_filled(segment) tokens.
HostTensor make_pool(const PagedCase& c, Random& random, DType type, float magnitude,
                     const std::function<int64_t(const CaseSegment&)>& n_filled);
// Writes cos and sin of n_rows positions, `stride` apart and beginning at `start`, into rows [row, row +
// n_rows).
void fill_rope(HostTensor* cos, HostTensor* sin, int64_t row, int64_t n_rows, int64_t start, int64_t stride);
// Weights of both signs, none near zero, which both bf16 and `stored` hold exactly.
CaseNorms make_norms(Random& random, int64_t d_head, DType stored, double eps);

}  // namespace seer::testing
