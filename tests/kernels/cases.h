// Inputs for every operation of kernels/backend.h. They are random but the same in every run, and have the
// shapes that are likely to go wrong. `activation` is the backend's activation_dtype(); values are rounded to
// it, so that a float64 reference sees the same values as the backend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/host_tensor.h"

namespace seer::testing {

// Random numbers by splitmix64, since the standard's distributions differ between libraries.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  float uniform(float low, float high);
  int64_t below(int64_t n);  // in [0, n)
  HostTensor tensor(DType dtype, std::vector<int64_t> shape, float magnitude);
  std::vector<int32_t> permutation(int64_t n);

 private:
  uint64_t state_;
};

// The types of a case's tensors. `activation` is the backend's activation_dtype(). `kv`, the type of keys and
// values in pages, is one of its kv_dtypes().
struct CaseTypes {
  CaseTypes(DType both) : activation(both), kv(both) {}  // implicit, for backends of one type
  CaseTypes(DType activation_, DType kv_) : activation(activation_), kv(kv_) {}
  DType activation, kv;
};

// ---- rows ----

struct EmbedCase {
  std::string name;
  HostTensor table;  // [n_vocab, d_model]
  std::vector<int32_t> ids;
};

struct RmsNormCase {
  std::string name;
  HostTensor x, weight;  // [n, d_model], [d_model]
  double eps = 0.0;
};

struct LinearCase {
  struct Part {
    HostTensor weight, bias;  // [d_out, d_in], [d_out] or empty
  };
  std::string name;
  HostTensor x;  // [n, d_in]
  std::vector<Part> parts;
  HostTensor before;  // [n, d_out]: the values of out before; NaN unless it accumulates
  bool accumulate = false;
};

struct SiluMulCase {
  std::string name;
  HostTensor gate_up;  // [n, 2 d_ff]
};

struct GatherRowsCase {
  std::string name;
  HostTensor x;
  std::vector<int64_t> rows;
};

struct RopeTableCase {
  std::string name;
  int64_t n_rows = 0, start = 0, stride = 0;
  std::vector<double> inv_freq;
  double scaling = 1.0;
};

// A SampleRow that owns its changes.
struct CaseSampleRow {
  double temperature = 0.0;
  int64_t top_k = 0;
  double top_p = 1.0, min_p = 0.0, uniform = 0.0;
  std::vector<LogitChange> changes;
  SampleRow view() const { return {temperature, top_k, top_p, min_p, uniform, changes}; }
};

struct SampleCase {
  std::string name;
  HostTensor logits;  // f32 [n, n_vocab]
  std::vector<CaseSampleRow> rows;
  bool exact = false;  // draws and cuts are far enough apart that rounding cannot change the result
};

std::vector<EmbedCase> embed_cases();
std::vector<RmsNormCase> rms_norm_cases(DType activation);
std::vector<LinearCase> linear_cases(DType activation);
std::vector<SiluMulCase> silu_mul_cases(DType activation);
std::vector<GatherRowsCase> gather_rows_cases(DType activation);
std::vector<RopeTableCase> rope_table_cases();
// Cases whose results are known by hand: ties, edges, logits that are not numbers.
std::vector<SampleCase> exact_sample_cases();
// Random logits with the sizes of real vocabularies, under single rules and combined ones.
std::vector<SampleCase> random_sample_cases();

// ---- pages ----

// A segment that owns its page table.
struct CaseSegment {
  int64_t row = 0, n_tokens = 0, start = 0;
  std::vector<int32_t> page_table;
  int64_t end() const { return start + n_tokens; }
  Segment view() const { return {row, n_tokens, start, page_table.data()}; }
};

// Heads, pages and a step of several sequences. Pages are shuffled, and there are more than the sequences
// use. Memory that no sequence wrote is NaN, except for the slots after the last token of a partial page:
// they hold finite values, as if an earlier sequence had left them.
struct PagedCase {
  std::string name;
  int64_t n_heads = 0, n_kv_heads = 0, d_head = 0, page = 0;
  int64_t n_tokens = 0, n_pages = 0;
  std::vector<CaseSegment> prefills, decodes;

  int64_t group() const { return n_heads / n_kv_heads; }
  int64_t n_rows(const CaseSegment& s) const { return (s.n_tokens + page - 1) / page; }
};

// The norms of query heads and of key heads. Empty weights mean that there are none.
struct CaseNorms {
  HostTensor q, k;  // [d_head]
  double eps = 0.0;
};

struct AppendKvCase : PagedCase {
  HostTensor qkv;       // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
  HostTensor cos, sin;  // [n_tokens, d_head / 2]
  HostTensor k, v;      // [n_pages, n_kv_heads, page, d_head]: the pages before the operation
  CaseNorms norms;
  GatePools q_pools, k_pools;  // for the prefills' blocks; nothing is pooled if there are none
};

// One prefill segment. The other rows of qkv, and its values (V), are NaN.
struct GateProjectCase : PagedCase {
  HostTensor qkv;
  CaseNorms norms;
  HostTensor cos, sin;  // [n_rows, d_head / 2]
  GatePools q_pools, k_pools;
  HostTensor linear_q, linear_k;  // linear_q may be empty
  int64_t d_gate() const { return linear_k.dim(2); }
  int64_t n_gate_heads() const { return linear_k.dim(0); }
};

struct SelectBlocksCase : PagedCase {
  HostTensor gate_q;  // [n_rows, n_heads, d_gate]
  HostTensor gate_k;  // [n_pages, n_gate_heads, d_gate]
  SelectRule rule;
  std::vector<float>
      head_factors;  // [n_heads]: rule.head_factors, which is set when it is run; empty otherwise
  int64_t row_capacity = 0;
  bool exact = false;  // no rounding can change a score: ties are ties, and no score is near the rule's edge
};

// The kept blocks of each head and block row of a segment, or of each KV head and decode.
struct CaseMask {
  int64_t row_capacity = 0;
  std::vector<std::vector<int32_t>> kept;  // [n_heads * n_rows], each ascending
};

// The prefill attention of the prefills, one call for each, and the decode attention of the decodes.
struct AttentionCase : PagedCase {
  HostTensor q;                       // [n_tokens, n_heads, d_head]
  HostTensor k, v;                    // [n_pages, n_kv_heads, page, d_head]
  std::vector<CaseMask> masks;        // one for each prefill, or none
  std::vector<int64_t> first_tokens;  // one for each prefill
  CaseMask decode_mask;               // lists [n_kv_heads * decodes]; if there are none, decodes are dense
};

// Decodes whose pages are divided among parts, in the way that ranks divide them.
struct AttentionPartsCase : AttentionCase {
  int64_t n_parts = 0;
  std::vector<std::vector<int64_t>> owners;  // the part that owns each block of each decode

  // Returns a decode's pages in one part, as decode_attention_part takes them.
  CaseSegment part(size_t decode, int64_t which) const;
};

std::vector<AppendKvCase> append_kv_cases(CaseTypes types);
// Decodes whose open page is on another rank, without norms and with them.
std::vector<AppendKvCase> elsewhere_append_kv_cases(CaseTypes types);
// Norms of query and key heads, with pools and without. Some tokens are so small that eps decides.
std::vector<AppendKvCase> norm_append_kv_cases(CaseTypes types);
std::vector<GateProjectCase> gate_project_cases(DType activation);
// Every combination of pools, with one weight if the gate allows it, and with two.
std::vector<GateProjectCase> gate_pool_cases(DType activation);
// Pools of normalised heads.
std::vector<GateProjectCase> norm_gate_project_cases(DType activation);
std::vector<SelectBlocksCase> select_blocks_cases(DType activation);
// Many rows, heads and blocks, which a device cuts into tiles.
std::vector<SelectBlocksCase> many_select_blocks_cases(DType activation);
std::vector<SelectBlocksCase> exact_select_blocks_cases(DType activation);
std::vector<AttentionCase> dense_prefill_cases(CaseTypes types);
// Block masks whose dropped tiles are NaN, since attention over kept blocks must not read others.
std::vector<AttentionCase> masked_prefill_cases(CaseTypes types);
// Scores that rise, or fall, by hundreds from one end of the keys to the other, so that softmax must change
// the maximum that it subtracts again and again.
std::vector<AttentionCase> growing_scores_cases(CaseTypes types);
std::vector<AttentionCase> decode_cases(CaseTypes types);
// Decodes over kept blocks. Tiles that a KV head drops are NaN, since attention must not read them.
std::vector<AttentionCase> masked_decode_cases(CaseTypes types);
// Decodes in one to four parts: runs of pages by turns, all pages in the last part, and pages at random.
std::vector<AttentionPartsCase> attention_parts_cases(CaseTypes types);
// Returns the decodes of `c` with runs of `run` pages that go to the parts by turns.
AttentionPartsCase in_parts(const AttentionCase& c, int64_t n_parts, int64_t run);
// Whole prompts of thousands of tokens, chunks and decodes, dense and masked. They are too long for a float64
// reference.
std::vector<AttentionCase> long_attention_cases(CaseTypes types);

}  // namespace seer::testing
