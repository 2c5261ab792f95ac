// Runs one operation of a backend on one case, from host values to host values. Outputs start as NaN.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/kernels/cases.h"

namespace seer::testing {

std::vector<float> run_embed(Backend& backend, const EmbedCase& c);
std::vector<float> run_rms_norm(Backend& backend, const RmsNormCase& c);
std::vector<float> run_linear(Backend& backend, const LinearCase& c);
// Return the product of x normalised with `norm` [d_in], and its SwiGLU with the first part both as gate and
// as up.
std::vector<float> run_norm_linear(Backend& backend, const LinearCase& c, const HostTensor& norm);
std::vector<float> run_norm_swiglu(Backend& backend, const LinearCase& c, const HostTensor& norm);
std::vector<float> run_silu_mul(Backend& backend, const SiluMulCase& c);
std::vector<float> run_gather_rows(Backend& backend, const GatherRowsCase& c);
// the rows of cos, then those of sin
std::vector<float> run_rope_table(Backend& backend, const RopeTableCase& c);
// Returns the same rows, computed as those of a step's decodes. If a multiple is given, decode r lies
// r % multiple tokens after the row's position, so the result is the same only if positions are rounded down.
// All positions of the case must be multiples of it.
std::vector<float> run_decode_rope_table(Backend& backend, const RopeTableCase& c, int64_t multiple = 1);
std::vector<int32_t> run_sample(Backend& backend, const SampleCase& c);

struct AppendKvResult {
  std::vector<float> q, k, v;             // k and v are the whole pools
  std::vector<float> pooled_q, pooled_k;  // empty if nothing is pooled
  std::vector<float> qkv;                 // after the operation
};
AppendKvResult run_append_kv(Backend& backend, const AppendKvCase& c);

struct GateProjectResult {
  std::vector<float> gate_q;
  std::vector<float> gate_k;  // [n_pages, n_gate_heads, d_gate]
};
GateProjectResult run_gate_project(Backend& backend, const GateProjectCase& c);

struct SelectBlocksResult {
  std::vector<int32_t> counts, blocks;
  std::vector<float> scores;  // empty unless asked for
};
SelectBlocksResult run_select_blocks(Backend& backend, const SelectBlocksCase& c, bool with_scores);

std::vector<float> run_prefill_attention(Backend& backend, const AttentionCase& c);
std::vector<float> run_decode_attention(Backend& backend, const AttentionCase& c);
struct AttentionPartsResult {
  std::vector<float> merged, outputs, log_sums;  // as reference::AttentionParts
};
AttentionPartsResult run_attention_parts(Backend& backend, const AttentionPartsCase& c);
// Runs merge_attention on parts [n_parts, attention_part_size()].
std::vector<float> run_merge_attention(Backend& backend, const HostTensor& parts, int64_t n, int64_t n_heads,
                                       int64_t d_head);

}  // namespace seer::testing
