// Every operation as plain loops in float64, from its definition (models/DESIGN.md, chapter 2, for the gate).
// kUntouched and kAnything of compare.h mark what an operation may not, or need not, write.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/kernels/cases.h"
#include "tests/kernels/run_op.h"

namespace seer::testing::reference {

std::vector<double> embed(const EmbedCase& c);
std::vector<double> rms_norm(const RmsNormCase& c);
std::vector<double> linear(const LinearCase& c);
std::vector<double> silu_mul(const SiluMulCase& c);
std::vector<double> gather_rows(const GatherRowsCase& c);
std::vector<double> rope_table(const RopeTableCase& c);

// What one row may give: the kept ids, ascending, each with the sum of probabilities, of 1, up to it.
struct Draw {
  std::vector<int32_t> ids;
  std::vector<double> sums;
};
Draw draw(const float* logits, int64_t n_vocab, const CaseSampleRow& row);
// Empty where every id is the one whose share of [0, 1) holds the row's draw, or, unless the case is exact,
// ends within `tolerance` of it; -1 where nothing can be kept.
std::string sample_mismatch(const SampleCase& c, const std::vector<int32_t>& actual, double tolerance);

struct AppendKv {
  std::vector<double> q, k, v;
  std::vector<double> pooled_q, pooled_k;  // as PooledBlocks has them; empty if nothing is pooled
};
AppendKv append_kv(const AppendKvCase& c);

struct GateProject {
  std::vector<double> gate_q, gate_k;
};
GateProject gate_project(const GateProjectCase& c);

struct SelectBlocks {
  std::vector<double> scores;              // [n_heads, n_rows, n_prompt_blocks]
  std::vector<std::vector<int32_t>> kept;  // [n_heads * n_rows]
  std::vector<double> edges;               // the score each row's rule turns on; infinite where none does
};
SelectBlocks select_blocks(const SelectBlocksCase& c);
// Empty where the lists are valid and equal to the expected ones but for blocks whose score lies within
// `tolerance` of the rule; 0 allows none.
std::string mask_mismatch(const SelectBlocksCase& c, const SelectBlocksResult& actual,
                          const SelectBlocks& expected, double tolerance);

std::vector<double> prefill_attention(const AttentionCase& c);
std::vector<double> decode_attention(const AttentionCase& c);
struct AttentionParts {
  std::vector<double> merged;   // as decode_attention
  std::vector<double> outputs;  // [n_parts, n decodes, n_heads, d_head]
  std::vector<double> log_sums;
};
AttentionParts attention_parts(const AttentionPartsCase& c);

// Head `head` of row `row` of qkv [n_tokens, any number of heads of d_head]: as it is, or normalised by a
// weight [d_head].
std::vector<double> head_of(const HostTensor& qkv, int64_t row, int64_t head, int64_t d_head,
                            const HostTensor& weight, double eps);
// The pools of heads that lie below each other, in the order max, min, avg: of the gate, DESIGN section 2,
// point 1.
std::vector<double> pool(const std::vector<std::vector<double>>& heads, const GatePools& pools);
// Of the query head, or of the key head, of `block` of a prefill segment.
std::vector<double> pooled_query(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                                 const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools);
std::vector<double> pooled_key(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                               const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools);
// out = x turned by one row of cos and sin, halves paired; channels behind 2 * half stay.
std::vector<double> rotate(const std::vector<double>& x, const float* cos, const float* sin, int64_t half);
// softmax(scores), in place.
void softmax(std::vector<double>* scores);

}  // namespace seer::testing::reference
