// Inputs of the operations of gates for decoding, how to run them on a backend, and their float64 results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"

namespace seer::testing {

// A step whose prefills and decodes fill pages. Slots after a sequence's last token are finite, and pages of
// no sequence are NaN.
struct StoreDecodeKeysCase : PagedCase {
  HostTensor k;            // [n_pages, n_kv_heads, page, d_head], after RoPE
  double rope_base = 1e4;  // angle i of position p is p * rope_base^(-2 i / d_head)
  double scaling = 1.0;    // the model's attention scaling: the rotations are multiplied by it
  bool rotates = true;     // whether the gate rotates its keys; pages hold rotated keys in any case
  GatePools k_pools;
  HostTensor linear_k;  // [n_kv_heads, n_k_pools * d_head, d_gate]
  HostTensor k_norm;    // [d_gate] or empty
  std::vector<double> inv_freq() const;
  int64_t d_gate() const { return linear_k.dim(2); }
};

// The decodes of a step. All of qkv and gate_k is NaN except the query heads of the decodes' rows, and the
// gate keys of their full pages.
struct SelectDecodeCase : PagedCase {
  HostTensor qkv;  // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
  CaseNorms norms;
  HostTensor cos, sin;  // [n_tokens, d_head / 2], multiplied by the attention scaling
  HostTensor linear_q;  // [n_kv_heads, group * d_head or d_head, d_gate] or empty
  HostTensor q_norm;    // [d_gate] or empty
  bool rotates = true;
  HostTensor gate_k;              // [n_pages, n_kv_heads, d_gate]
  std::vector<DecodeRule> rules;  // one for each decode
  int64_t row_capacity = 0;
  bool exact = false;  // no rounding can change a score: ties are ties, and no score is near the rule's edge
  int64_t d_gate() const { return gate_k.dim(2); }
};

std::vector<StoreDecodeKeysCase> store_decode_keys_cases(CaseTypes types);
std::vector<SelectDecodeCase> select_decode_cases(DType activation);
// Ties, scores at the rule's edge, and the smallest and largest numbers of blocks.
std::vector<SelectDecodeCase> exact_select_decode_cases(DType activation);
// Returns a case with decode i of `c` alone.
SelectDecodeCase only_decode(const SelectDecodeCase& c, size_t i);

// Returns the gate keys of all pages, [n_pages, n_kv_heads, d_gate]. If only_prefills is true, the operation
// gets the step's prefills without its decodes.
std::vector<float> run_store_decode_keys(Backend& backend, const StoreDecodeKeysCase& c,
                                         bool only_prefills = false);
struct SelectDecodeResult {
  std::vector<int32_t> counts, blocks;  // [n_kv_heads, decodes], [n_kv_heads, decodes, row_capacity]
  std::vector<float> scores;            // as blocks; empty unless asked for
  // Returns the blocks that a KV head keeps for decode i of n decodes.
  std::vector<int32_t> list(int64_t kv_head, int64_t i, int64_t n) const;
};
SelectDecodeResult run_select_decode(Backend& backend, const SelectDecodeCase& c, bool with_scores);
// Returns the same, computed with the operations of DividedDecodes: block b of decode i is on part
// (b + i) % n_parts.
SelectDecodeResult run_divided_select(Backend& backend, const SelectDecodeCase& c, int64_t n_parts);
// Returns the attention of masked decodes, merged from the parts of the case's owners.
std::vector<float> run_masked_parts(Backend& backend, const AttentionPartsCase& c);

namespace reference {

std::vector<double> store_decode_keys(const StoreDecodeKeysCase& c);

struct SelectDecode {
  std::vector<double> scores;              // [n_kv_heads, decodes, row_capacity]
  std::vector<std::vector<int32_t>> kept;  // [n_kv_heads * decodes]
  std::vector<double> edges;  // the score at which each list's rule decides; infinite if there is none
};
SelectDecode select_decode(const SelectDecodeCase& c);
// Returns an empty text if the lists are valid and equal to the expected ones, else a description. Blocks
// whose score lies within `tolerance` of the rule's edge may differ, but not the first and the last.
std::string decode_mask_mismatch(const SelectDecodeCase& c, const SelectDecodeResult& actual,
                                 const SelectDecode& expected, Tolerance tolerance);

}  // namespace reference
}  // namespace seer::testing
