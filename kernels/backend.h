// The one seam between the model and the device it runs on. models/ writes the forward pass once, over these
// operations; kernels/cpu and kernels/cuda implement them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/block_mask.h"
#include "kernels/linear_weights.h"
#include "kernels/paged_kv.h"
#include "kernels/sample_row.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// Device memory, released with the last copy.
using Buffer = std::shared_ptr<void>;

// What decides whether a backend can run a model.
struct ModelShape {
  int64_t d_model = 0, d_ff = 0, d_head = 0, n_vocab = 0;
  int64_t d_gate = 0;  // 0: no gates
  int64_t page_tokens = 0;
  int64_t n_blocks = 0;  // of the longest sequence
};

// Which values of a larger random tensor a slice of it holds: element (r, c) is value first + r * stride + c.
struct RandomSlice {
  int64_t first = 0;
  int64_t stride = 0;  // 0: as wide as the slice itself
};

// Where a device orders its operations: a cudaStream_t.
struct DeviceStream {
  int device;
  void* stream;
};

// A step holds the others. kGate is what a step with sparse prompts does beside attention: append_kv, which
// pools their queries and keys and is one kernel on a GPU, gate_project and select_blocks.
enum class Phase { kGate, kAttention, kStep };

// Operations are ordered: each sees the results of those before it. One thread at a time. Outputs come first
// and may not alias inputs unless an operation says so. Shapes are the caller's promise (asserted, not
// checked).
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;  // "cpu (2 threads, AVX-512, OpenBLAS SkylakeX)"
  virtual DType activation_dtype() const = 0;   // of activations and KV pages

  // ---- memory and weights ----

  struct Memory {
    int64_t total, free;  // bytes
  };
  // Whether the device has memory of its own, into which weights are copied. A CPU uses them where they lie.
  virtual bool has_own_memory() const { return false; }
  // Of a device with memory of its own; absent if it has none, for memory of the host costs nothing until it
  // is used.
  virtual std::optional<Memory> memory() { return std::nullopt; }
  // Throws Error{kUnsupported} that names what this backend cannot do.
  virtual void check_model(const ModelShape&) const {}
  // Zero-filled or untouched memory. Throws Error{kMemory}.
  virtual Buffer allocate(int64_t bytes, const std::string& purpose) = 0;
  // A host tensor where and as the device uses it; the CPU uses mapped weights where they lie. `keep` owns a
  // copy.
  virtual Tensor to_device(const Tensor& host, std::vector<Buffer>* keep) = 0;
  virtual LinearWeights to_device(const LinearWeights& host, std::vector<Buffer>* keep) = 0;
  // bf16 values, uniform in [mean - scale, mean + scale]; value i depends on seed and i alone.
  virtual void fill_random(const Tensor& out, uint64_t seed, float mean, float scale,
                           const RandomSlice& slice) = 0;
  virtual void read(void* host, const Tensor& device) = 0;  // waits for the operations before it

  // For what computes beside this backend, on several GPUs: its stream, absent on a CPU; and what its waits
  // call now and then with the time they have waited, which may throw.
  virtual std::optional<DeviceStream> stream() { return std::nullopt; }
  virtual void set_wait_check(const std::function<void(std::chrono::nanoseconds waited)>&) {}
  // Steps are recorded anew: before what they call outside this backend ends.
  virtual void forget_recordings() {}

  // ---- steps ----

  // Room for every step within the limits; once, before the first.
  virtual void prepare(const StepLimits&) {}
  // Opens a step: the operations behind it read ids, page tables, positions and rows as given here, and take
  // segments of this step only.
  virtual void begin_step(const StepInput& in, int64_t page_tokens) = 0;
  // Runs `operations`. A step that only decodes issues the same ones every time, over what begin_step
  // brought: a device may record them under `key` and replay the record instead of calling again. 0: never.
  // They may not read back.
  virtual void run_step([[maybe_unused]] int64_t key, const std::function<void()>& operations) {
    operations();
  }

  // ---- operations ----

  // Row r of out = the embedding of the step's id r. `table` may be a part of the vocabulary, from id
  // first_id on: ids outside it get zeros.
  virtual void embed(const Tensor& out,    // [n_tokens, d_model]
                     const Tensor& table,  // [n_ids, d_model], stored type
                     int64_t first_id) = 0;
  virtual void rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight,
                        double eps) = 0;  // [n, d_model]
  // out [n, d_out] = x W^T + b, or out += with accumulate.
  virtual void linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) = 0;
  // x += y; y in x's type or float32.
  virtual void add(const Tensor& x, const Tensor& y) = 0;  // [n, width]
  // Columns [first, first + width) of out = in.
  virtual void copy_columns(const Tensor& out,                     // f32 [n, out_width]
                            int64_t first, const Tensor& in) = 0;  // f32 [n, width]
  // Row out_rows[i] of out = row in_rows[i] of in: rows of the first axis, of one type and size, pages among
  // them. out may be in where no row is both read and written.
  virtual void copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                         std::span<const int64_t> in_rows) = 0;
  virtual void silu_mul(const Tensor& out, const Tensor& gate_up) = 0;  // [n, d_ff] from [n, 2 d_ff]
  // Row i of out = row logit_rows[i] of x, of the step's logit_rows.
  virtual void gather_rows(const Tensor& out,     // [logit_rows.size(), width]
                           const Tensor& x) = 0;  // [n_tokens, width]
  // linear(rms_norm(x)), and the SwiGLU of it: act [n, d_ff] = silu(gate) * up. `h` [n, d_model] and
  // `gate_up` [n, 2 d_ff] are scratch for devices that do these one by one.
  virtual void norm_linear(const Tensor& out, const Tensor& h, const Tensor& x, const Tensor& norm,
                           double eps, const LinearWeights& w) {
    rms_norm(h, x, norm, eps);
    linear(out, h, w, /*accumulate=*/false);
  }
  virtual void norm_swiglu(const Tensor& act, const Tensor& h, const Tensor& gate_up, const Tensor& x,
                           const Tensor& norm, double eps, const LinearWeights& w) {
    norm_linear(gate_up, h, x, norm, eps, w);
    silu_mul(act, gate_up);
  }

  // Row r holds position start + r * stride.
  virtual void rope_table(const RopeTable& out, int64_t start, int64_t stride,
                          std::span<const double> inv_freq, double scaling) = 0;
  // Row r holds the position of the step's decode r; out has a row for each of them.
  virtual void decode_rope_table(const RopeTable& out, std::span<const double> inv_freq, double scaling) = 0;
  // Splits qkv [n_tokens, (n_heads + 2 n_kv_heads) * d_head], which stays as it is, and normalises queries
  // and keys if there are norms; writes rotated queries to q and rotated keys with the values to the pages.
  // rope has a row for every token of the step. `pooled`, where given, gets the pools of the prefill
  // segments' blocks, of normalised heads.
  virtual void append_kv(const Tensor& q,  // [n_tokens, n_heads, d_head]
                         const PagedKv& kv, const Tensor& qkv, const HeadNorms& norms, const RopeTable& rope,
                         const Step& step, const PooledBlocks* pooled) = 0;

  // Projects and rotates the pools of a segment's blocks: gate queries to gate_q, gate keys to the segment's
  // pages. pooled and rope have a row for every block of the segment.
  virtual void gate_project(const Tensor& gate_q,  // [n_rows, n_heads, d_gate]
                            const PagedKv& kv, const PooledBlocks& pooled, const GateView& gate,
                            const RopeTable& rope, const Segment& segment) = 0;
  // Scores the segment's block rows against every earlier page's gate key and keeps blocks by the rule.
  // `scores`, where given, is f32 [n_heads, n_rows, n_prompt_blocks]: softmaxed for a threshold, raw for
  // the ratios, 0 above the diagonal.
  virtual void select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                             const PagedKv& kv, const Segment& segment, const SelectRule& rule) = 0;

  // Row `row` of marks gets 1 where a row of any head of `masks` keeps the block; the rest of marks gets 0.
  virtual void mark_blocks(const Tensor& marks,  // f32 [n_rows, n_blocks]
                           int64_t row, std::span<const BlockMask> masks) = 0;

  // Causal attention of a prefill segment over the pages from position 0; over kept blocks only with a mask.
  // Tokens of the segment before first_token, a multiple of the page, may be left out: nobody reads them.
  virtual void prefill_attention(const Tensor& out,  // [n_tokens of the step, n_heads, d_head]
                                 const Tensor& q, const PagedKv& kv, const Segment& segment,
                                 const BlockMask* mask, int64_t first_token) = 0;
  // Attention of each of the step's decodes over all its pages. There is at least one decode.
  virtual void decode_attention(const Tensor& out,  // [n_tokens of the step, n_heads, d_head]
                                const Tensor& q, const PagedKv& kv) = 0;
  // The same over the part of its pages that is here: the outputs, and the natural logarithm of the sum of
  // the exponentials of the scaled scores. Zeros and -infinity of a sequence that has no keys here.
  virtual void decode_attention_part(const Tensor& part,  // f32, attention_part_size() elements: see there
                                     const Tensor& q, const PagedKv& kv) = 0;
  // What the parts, of all the keys, make together; zeros where none has keys.
  virtual void merge_attention(const Tensor& out,         // [n, n_heads, d_head]
                               const Tensor& parts) = 0;  // f32 [n_parts, attention_part_size()]

  // Chooses a token from each row of logits and waits for the choice: nothing but ids comes back. -1 where
  // the largest logit of a row is not finite, for then there is no distribution to choose from. Backends
  // round probabilities each in its own way: equal rows give equal ids on one of them, and, but for a draw on
  // the very edge, on all.
  virtual void sample(std::span<int32_t> ids,  // [n], on the host
                      const Tensor& logits,    // f32 [n, n_vocab]; may be changed
                      std::span<const SampleRow> rows) = 0;

  // Time the device spent between begin and end of a phase, summed since reset.
  virtual void begin_phase(Phase phase) = 0;
  virtual void end_phase(Phase phase) = 0;
  virtual int64_t phase_ns(Phase phase) = 0;
  virtual void reset_phases() = 0;
};

// n_threads 0: one for each core this process may run on. Throws Error{kUsage} for a count out of range.
std::unique_ptr<Backend> make_cpu_backend(int n_threads);
// GPU number `device`. Throws Error{kDevice}: no driver or GPU, or one too old, or a build without CUDA.
std::unique_ptr<Backend> make_cuda_backend(int device);
bool built_with_cuda();
int cuda_device_count();  // 0 without a driver, a GPU, or CUDA in the build

}  // namespace seer
