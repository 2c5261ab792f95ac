// The one seam between the model and the device it runs on. models/ writes the forward pass once, over these
// operations; kernels/cpu and kernels/cuda implement them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/block_mask.h"
#include "kernels/paged_kv.h"
#include "kernels/tensor.h"

namespace seer {

// Device memory, released with the last copy.
using Buffer = std::shared_ptr<void>;

// y = x W^T + b with W given in parts whose outputs lie side by side: q, k and v, or gate and up.
struct LinearWeights {
  struct Part {
    Tensor weight;  // [d_out, d_in], in its stored type
    Tensor bias;    // [d_out] or empty
  };
  std::vector<Part> parts;

  int64_t d_in() const { return parts.front().weight.dim(1); }
  int64_t d_out() const {
    int64_t n = 0;
    for (const Part& p : parts) n += p.weight.dim(0);
    return n;
  }
};

// cos and sin of consecutive rows, scaled by the model's attention scaling.
struct RopeTable {
  Tensor cos;  // f32 [n_rows, d_rot / 2]
  Tensor sin;  // f32 [n_rows, d_rot / 2]
};

enum class Phase { kGate, kAttention };

// Operations are ordered: each sees the results of those before it. One thread at a time. Outputs come first
// and may not alias inputs unless an operation says so. Shapes are the caller's promise (asserted, not
// checked).
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;  // "cpu (2 threads, AVX-512, OpenBLAS SkylakeX)"
  virtual DType activation_dtype() const = 0;   // of activations and KV pages
  // Zero-filled or untouched memory; costs nothing until used where the device allows. Throws Error{kMemory}.
  virtual Buffer allocate(int64_t bytes, const std::string& purpose) = 0;
  // A host tensor where the device can use it; the CPU uses mapped weights where they lie. `keep` owns a
  // copy.
  virtual Tensor to_device(const Tensor& host, std::vector<Buffer>* keep) = 0;
  virtual void read(void* host, const Tensor& device) = 0;  // waits for the operations before it

  virtual void embed(const Tensor& out,                  // [n_tokens, d_model]
                     const Tensor& table,                // [n_vocab, d_model], stored type
                     std::span<const int32_t> ids) = 0;  // host; in range
  virtual void rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight,
                        double eps) = 0;  // [n, d_model]
  // out [n, d_out] = x W^T + b, or out += with accumulate.
  virtual void linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) = 0;
  virtual void silu_mul(const Tensor& out, const Tensor& gate_up) = 0;  // [n, d_ff] from [n, 2 d_ff]
  virtual void gather_rows(const Tensor& out, const Tensor& x, std::span<const int64_t> rows) = 0;

  // Row r holds position start + r * stride.
  virtual void rope_table(const RopeTable& out, int64_t start, int64_t stride,
                          std::span<const double> inv_freq, double scaling) = 0;
  // Splits qkv [n_tokens, (n_heads + 2 n_kv_heads) * d_head]; writes rotated queries to q and rotated keys
  // with the values to the pages. rope has a row for every token of the step.
  virtual void append_kv(const Tensor& q,  // [n_tokens, n_heads, d_head]
                         const PagedKv& kv, const Tensor& qkv, const RopeTable& rope, const Step& step) = 0;

  // Pools the segment's pre-RoPE queries and keys by block, projects and rotates them: gate queries to
  // gate_q, gate keys to the segment's pages. rope has a row for every block of the segment.
  virtual void gate_project(const Tensor& gate_q,  // [n_rows, n_heads, d_gate]
                            const PagedKv& kv, const Tensor& qkv, const GateView& gate, const RopeTable& rope,
                            const Segment& segment) = 0;
  // Scores the segment's block rows against every earlier page's gate key and keeps blocks by the rule.
  // `scores`, where given, is f32 [n_heads, n_rows, n_prompt_blocks]: softmaxed for a threshold, raw for
  // nz_ratio, 0 above the diagonal.
  virtual void select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                             const PagedKv& kv, const Segment& segment, const SelectRule& rule) = 0;

  // Causal attention of a prefill segment over the pages from position 0; over kept blocks only with a mask.
  // Tokens of the segment before first_token, a multiple of the page, may be left out: nobody reads them.
  virtual void prefill_attention(const Tensor& out,  // [n_tokens of the step, n_heads, d_head]
                                 const Tensor& q, const PagedKv& kv, const Segment& segment,
                                 const BlockMask* mask, int64_t first_token) = 0;
  // One token of each sequence over all its pages.
  virtual void decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                std::span<const Segment> segments) = 0;

  // Time spent between begin and end of a phase, summed since reset.
  virtual void begin_phase(Phase phase) = 0;
  virtual void end_phase(Phase phase) = 0;
  virtual int64_t phase_ns(Phase phase) = 0;
  virtual void reset_phases() = 0;
};

// n_threads 0: one for each core this process may run on. Throws Error{kUsage} for a count out of range.
std::unique_ptr<Backend> make_cpu_backend(int n_threads);

}  // namespace seer
