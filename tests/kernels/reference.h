// Every operation as plain loops in float64, from its definition (for the gate, models/DESIGN.md, chapter 2).
// kUntouched and kAnything of compare.h mark memory that an operation must not, or need not, write.
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

// The ids that one row may give, ascending. Each has the sum of probabilities (of a total of 1) up to and
// including it.
struct Draw {
  std::vector<int32_t> ids;
  std::vector<double> sums;
};
Draw draw(const float* logits, int64_t n_vocab, const CaseSampleRow& row);
// Returns an empty text if every id is right, else a description. An id is right if the row's draw lies in
// its share of [0, 1), or, unless the case is exact, at most `tolerance` outside of it. If nothing can be
// kept, -1 is right.
std::string sample_mismatch(const SampleCase& c, const std::vector<int32_t>& actual, double tolerance);

struct AppendKv {
  std::vector<double> q, k, v;
  std::vector<double> pooled_q, pooled_k;  // in the layout of PooledBlocks; empty if nothing is pooled
};
AppendKv append_kv(const AppendKvCase& c);

struct GateProject {
  std::vector<double> gate_q, gate_k;
};
GateProject gate_project(const GateProjectCase& c);

struct SelectBlocks {
  std::vector<double> scores;              // [n_heads, n_rows, n_prompt_blocks]
  std::vector<std::vector<int32_t>> kept;  // [n_heads * n_rows]
  std::vector<double> edges;  // the score at which each row's rule decides; infinite if there is none
};
SelectBlocks select_blocks(const SelectBlocksCase& c);
// Returns an empty text if the lists are valid and equal to the expected ones, else a description. Blocks
// whose score lies within `tolerance` of the rule's edge may differ; 0 allows none.
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

// Returns head `head` of row `row` of qkv [n_tokens, any number of heads of d_head]. If `weight` [d_head] is
// not empty, the head is normalised by it.
std::vector<double> head_of(const HostTensor& qkv, int64_t row, int64_t head, int64_t d_head,
                            const HostTensor& weight, double eps);
// Returns the pools of heads that lie below each other, in the order max, min, avg (models/DESIGN.md, chapter
// 2, point 1).
std::vector<double> pool(const std::vector<std::vector<double>>& heads, const GatePools& pools);
// Return the pools of one query head, or of one key head, for `block` of a prefill segment.
std::vector<double> pooled_query(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                                 const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools);
std::vector<double> pooled_key(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                               const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools);
// Returns x turned by one row of cos and sin, with halves paired. Channels after the first 2 * half stay
// unchanged.
std::vector<double> rotate(const std::vector<double>& x, const float* cos, const float* sin, int64_t half);
// Replaces the scores by softmax(scores).
void softmax(std::vector<double>* scores);

}  // namespace seer::testing::reference
