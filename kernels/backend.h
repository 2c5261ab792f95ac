// The one seam between the model and the device it runs on. models/ writes the forward pass once, in terms of
// these operations; kernels/cpu and kernels/cuda implement them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/block_mask.h"
#include "kernels/decode_gate.h"
#include "kernels/distillation.h"
#include "kernels/divided_decodes.h"
#include "kernels/linear_weights.h"
#include "kernels/paged_kv.h"
#include "kernels/quantise.h"
#include "kernels/record_copier.h"
#include "kernels/sample_row.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// Device memory. It is released with the last copy of the pointer.
using Buffer = std::shared_ptr<void>;

// The sizes that decide whether a backend can run a model.
struct ModelShape {
  int64_t d_model = 0, d_ff = 0, d_head = 0, n_vocab = 0;
  int64_t d_gate = 0;  // 0: no gates for prompts
  int64_t page_tokens = 0;
  int64_t n_blocks = 0;       // of the longest sequence
  int64_t d_decode_gate = 0;  // 0: no gates for decoding
  int64_t group = 1;          // query heads of a KV head
};

// The place of a slice in a larger random tensor: element (r, c) of the slice is value first + r * stride + c
// of the tensor.
struct RandomSlice {
  int64_t first = 0;
  int64_t stride = 0;  // 0: the width of the slice itself
};

// The queue in which a GPU runs its operations.
struct DeviceStream {
  int device;    // number of the GPU
  void* stream;  // a cudaStream_t
};

// Parts of a step whose time is measured. kStep is the whole step and includes the others. kAttention is
// attention alone. kGate is the further work of a step with sparse prompts: gate_project, select_blocks, and
// all of append_kv, because a GPU pools and appends in one kernel.
enum class Phase { kGate, kAttention, kStep };

// Only one thread may call these functions at a time. Operations are ordered: each one sees the results of
// all operations before it. Output parameters come first; an output may not alias an input unless the
// operation says so. The caller promises that shapes fit; this is asserted, not checked.
class Backend : public DividedDecodes {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;  // "cpu (2 threads, AVX-512, OpenBLAS SkylakeX)"
  virtual DType activation_dtype() const = 0;   // of activations and gate keys
  // The types in which pages can hold keys and values; the first is the usual one.
  virtual std::span<const DType> kv_dtypes() const = 0;

  // ---- memory and weights ----

  struct Memory {
    int64_t total, free;  // bytes
  };
  // True if the device has memory of its own, into which weights are copied. A CPU uses weights in place.
  virtual bool has_own_memory() const { return false; }
  // Memory of the device; absent if has_own_memory() is false, because memory of the host costs nothing until
  // it is used.
  virtual std::optional<Memory> memory() { return std::nullopt; }
  // Returns normally if this backend can run the model. Otherwise throws Error{kUnsupported}, whose message
  // names the size that it does not support.
  virtual void check_model(const ModelShape&) const {}
  // Returns memory that may hold zeros or anything else. Throws Error{kMemory}.
  virtual Buffer allocate(int64_t bytes, const std::string& purpose) = 0;
  // Returns a host tensor in the place and type in which the device uses it. If that needs a copy, the copy's
  // memory is added to `keep`. The CPU makes no copy: it returns the mapped weights themselves.
  virtual Tensor to_device(const Tensor& host, std::vector<Buffer>* keep) = 0;
  virtual LinearWeights to_device(const LinearWeights& host, std::vector<Buffer>* keep) = 0;
  // Returns the weights in another format. `plain` must come from to_device() or be filled by fill_random().
  // If the device has memory of its own, `buffers` must own the matrices of `plain`; afterwards `buffers`
  // owns the result, and no longer the matrices that it replaces. Plain weights that are in the format
  // already are returned as they are. The caller promises that int4_group() has a group for d_in.
  virtual LinearWeights quantise(const LinearWeights& plain, WeightFormat format,
                                 std::vector<Buffer>* buffers) = 0;
  // Fills a bf16 tensor with values uniform in [mean - scale, mean + scale]. Value i depends only on seed and
  // i.
  virtual void fill_random(const Tensor& out, uint64_t seed, float mean, float scale,
                           const RandomSlice& slice) = 0;
  // Copies a tensor to the host, after all operations before this call. Returns when the copy is done.
  virtual void read(void* host, const Tensor& device) = 0;
  // Copies rows to the host, after all operations before this call: row rows[i] of `device` goes to
  // host + i * stride. A row is one index of the first axis, for example a page. Returns when the copies are
  // done.
  virtual void read_rows(std::byte* host, int64_t stride, const Tensor& device,
                         std::span<const int64_t> rows) = 0;
  // Copies in the other direction. The operations after this call see the rows, and the host's bytes may be
  // changed when it returns.
  virtual void write_rows(const Tensor& device, std::span<const int64_t> rows, const std::byte* host,
                          int64_t stride) = 0;

  // Makes an object that copies rows of tensors to and from records on the host. The parts together cover the
  // `record_bytes` of a record. The backend and the tensors must outlive the object. Throws Error{kMemory}.
  virtual std::unique_ptr<RecordCopier> make_record_copier(const std::vector<RecordPart>& parts,
                                                           int64_t record_bytes) = 0;
  // Memory of the host to which and from which the device copies fastest; not initialised. Throws
  // Error{kMemory}.
  virtual Buffer allocate_host(int64_t bytes, const std::string& purpose) = 0;

  // Returns if the device can compute. Otherwise throws Error{kDevice}: after a GPU's fault, nothing that
  // this process asks of it will ever succeed. Takes microseconds and waits for nothing.
  virtual void check_device() {}

  // ---- several GPUs ----

  // The CUDA stream, for a communicator that must order its work with ours; absent on a CPU.
  virtual std::optional<DeviceStream> stream() { return std::nullopt; }
  // Sets a function that is called about every 20 ms while the backend waits for the device, with the time
  // waited so far. It may throw to end the wait, for example if a rank is lost. An empty function is not
  // called.
  virtual void set_wait_check(const std::function<void(std::chrono::nanoseconds waited)>&) {}
  // Drops all recorded graphs. Call it before destroying anything a recorded step uses (NCCL).
  virtual void forget_recordings() {}

  // ---- steps ----

  // Returns how many bytes of the device's memory prepare() takes. Call it after the weights have been
  // brought to the device, because the memory that products need depends on their formats and sizes.
  virtual int64_t step_bytes(const StepLimits&) const { return 0; }
  // Makes room for every step within the limits. Call it once, before the first step. Throws Error{kMemory}.
  virtual void prepare(const StepLimits&) {}
  // Opens a step. The operations after this call read ids, page tables, positions and logit rows as `in`
  // gives them; a segment that is passed to an operation must be one of this step's. StepInput says how long
  // the caller keeps the memory to which `in` points.
  virtual void begin_step(const StepInput& in, int64_t page_tokens) = 0;
  // Runs `operations`, which may not read from the device. With a key other than 0, a device may record them
  // and later replay the record for the same key instead of calling `operations` again. So the caller gives
  // the same key only to steps that issue the same operations and differ in nothing but the StepInput's
  // contents: steps that decode, of equal size.
  virtual void run_step([[maybe_unused]] int64_t key, const std::function<void()>& operations) {
    operations();
  }

  // ---- operations ----

  // Row r of out = the embedding of the step's id r. `table` may hold only a part of the vocabulary, which
  // begins with id first_id; ids outside that part get zeros.
  virtual void embed(const Tensor& out,    // [n_tokens, d_model]
                     const Tensor& table,  // [n_ids, d_model], stored type
                     int64_t first_id) = 0;
  virtual void rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight,
                        double eps) = 0;  // [n, d_model]
  // Returns whether products of many rows with w round their inputs as w's format says. If not, and for few
  // rows, inputs are used as they are.
  virtual bool rounds_inputs(const LinearWeights&) const { return false; }
  // out [n, d_out] = x W^T + b, or out += with accumulate.
  virtual void linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) = 0;
  // x += y; y in x's type or float32.
  virtual void add(const Tensor& x, const Tensor& y) = 0;  // [n, width]
  // Columns [first, first + width) of out = in. The other columns stay as they are.
  virtual void copy_columns(const Tensor& out,                     // f32 [n, out_width]
                            int64_t first, const Tensor& in) = 0;  // f32 [n, width]
  // Row out_rows[i] of out = row in_rows[i] of in. A row is one index of the first axis, for example a page;
  // rows of both tensors have the same type and size. out may be in if no row is both read and written.
  virtual void copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                         std::span<const int64_t> in_rows) = 0;
  virtual void silu_mul(const Tensor& out, const Tensor& gate_up) = 0;  // [n, d_ff] from [n, 2 d_ff]
  // Row i of out = row logit_rows[i] of x, of the step's logit_rows.
  virtual void gather_rows(const Tensor& out,     // [logit_rows.size(), width]
                           const Tensor& x) = 0;  // [n_tokens, width]
  // out [n, d_out] = linear(rms_norm(x)). `h` [n, d_model] is scratch for devices that do this in two steps.
  virtual void norm_linear(const Tensor& out, const Tensor& h, const Tensor& x, const Tensor& norm,
                           double eps, const LinearWeights& w) {
    rms_norm(h, x, norm, eps);
    linear(out, h, w, /*accumulate=*/false);
  }
  // act [n, d_ff] = silu(gate) * up, with gate and up side by side in linear(rms_norm(x)). `h` [n, d_model]
  // and `gate_up` [n, 2 d_ff] are scratch for devices that do this in several steps. If `next` is given, the
  // caller promises that the next operation is linear() of act with these weights, and that nothing else
  // reads act. A device may then write act in the form in which that product takes its inputs.
  virtual void norm_swiglu(const Tensor& act, const Tensor& h, const Tensor& gate_up, const Tensor& x,
                           const Tensor& norm, double eps, const LinearWeights& w,
                           [[maybe_unused]] const LinearWeights* next) {
    norm_linear(gate_up, h, x, norm, eps, w);
    silu_mul(act, gate_up);
  }

  // Row r of out gets the cosines and sines of position start + r * stride.
  virtual void rope_table(const RopeTable& out, int64_t start, int64_t stride,
                          std::span<const double> inv_freq, double scaling) = 0;
  // Row r of out gets the cosines and sines of the position of the step's decode r; out has one row for each
  // decode. If `multiple` is more than 1, the position is rounded down to a multiple of it.
  virtual void decode_rope_table(const RopeTable& out, std::span<const double> inv_freq, double scaling,
                                 int64_t multiple) = 0;

  // Splits the rows of qkv into heads, normalises queries and keys if there are norms, writes the rotated
  // queries to q, and writes the rotated keys and the values to the pages, rounded to the nearest, ties to
  // even, if the pages' type is narrower than the result. qkv stays as it is. If `pooled` is given, it gets
  // the pools of the prefill segments' blocks, taken from normalised heads of qkv and not from the pages.
  //
  // `step` is the step that begin_step opened, or a part of it: any of its prefill segments, and all of its
  // decodes or none. It says which rows are appended. A GPU reads page tables, and the positions of decodes,
  // from what begin_step brought.
  virtual void append_kv(const Tensor& q,  // [n_tokens, n_heads, d_head]
                         const PagedKv& kv,
                         const Tensor& qkv,  // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
                         const HeadNorms& norms,
                         const RopeTable& rope,  // a row for every token of the whole step
                         const Step& step, const PooledBlocks* pooled) = 0;

  // Projects and rotates the pools of a segment's blocks. Gate queries are written to gate_q, gate keys to
  // the segment's pages. pooled and rope have a row for every block of the segment.
  virtual void gate_project(const Tensor& gate_q,  // [n_rows, n_heads, d_gate]
                            const PagedKv& kv, const PooledBlocks& pooled, const GateView& gate,
                            const RopeTable& rope, const Segment& segment) = 0;
  // Scores the segment's block rows against the gate keys of their causal blocks, and keeps blocks by the
  // rule. If `scores` is given, it gets the scores, f32 [n_heads, n_rows, n_prompt_blocks]: softmaxed for a
  // threshold, raw for the ratios, 0 above the diagonal.
  virtual void select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                             const PagedKv& kv, const Segment& segment, const SelectRule& rule) = 0;

  // Element [row, b] of marks gets 1 if any row of any head of `masks` keeps block b. All other elements of
  // marks, in this row and in the others, get 0.
  virtual void mark_blocks(const Tensor& marks,  // f32 [n_rows, n_blocks]
                           int64_t row, std::span<const BlockMask> masks) = 0;

  // Causal attention of a prefill segment over its pages from position 0; with a mask, only over the kept
  // blocks. The caller does not read the outputs of the segment's first first_token tokens, a multiple of the
  // page, so a device may leave them out.
  virtual void prefill_attention(const Tensor& out,  // [n_tokens of the step, n_heads, d_head]
                                 const Tensor& q, const PagedKv& kv, const Segment& segment,
                                 const BlockMask* mask, int64_t first_token) = 0;
  // Writes the decode gates' key of each page that `step` fills. A gate key is made from the keys in its
  // page, so append_kv must have written all of the step's keys. `step` must be the step that begin_step
  // opened, or its prefill segments without its decodes. If ranks divide pages, `step` may also be some of
  // the prefill segments, or the decodes alone, and nothing is written for a decode whose page is -1. The
  // rows of `ropes` are those of the segments and decodes in `step`.
  virtual void store_decode_gate_keys(const PagedKv& kv, const DecodeGateView& gate, const BlockRopes& ropes,
                                      const Step& step) = 0;
  // Scores the blocks of each of the step's decodes, and keeps blocks by the step's decode_rules. The gate
  // keys of all full pages must have been stored. If `scores` is given, it gets the softmaxed scores, f32
  // [n_kv_heads, n_decodes, capacity], with 0 for all blocks after a decode's own. The rows of dense decodes
  // are not written.
  virtual void select_decode_blocks(const BlockMask& mask,  // [n_kv_heads, n_decodes, capacity]
                                    const Tensor* scores, const Tensor& qkv, const HeadNorms& norms,
                                    const RopeTable& rope,  // a row for every token of the step
                                    const PagedKv& kv, const DecodeGateView& gate) = 0;
  // Attention of each of the step's decodes over all its pages. If a mask is given, which must be one that
  // select_decode_blocks() wrote, it is over the kept pages only. The step must have at least one decode.
  virtual void decode_attention(const Tensor& out,  // [n_tokens of the step, n_heads, d_head]
                                const Tensor& q, const PagedKv& kv, const BlockMask* mask) = 0;
  // Attention of each of the step's decodes over the pages of its decode_parts. For each decode and head,
  // `part` gets the output and the natural logarithm of the sum of the exponentials of the scaled scores; a
  // decode without keys here gets zeros and -infinity. The step must have at least one decode.
  virtual void decode_attention_part(const Tensor& part,  // f32, attention_part_size() elements: see there
                                     const Tensor& q, const PagedKv& kv) = 0;
  // Merges the results of decode_attention_part over parts that together have all keys: out is the attention
  // over all of them. A decode gets zeros if no part has keys.
  virtual void merge_attention(const Tensor& out,         // [n, n_heads, d_head]
                               const Tensor& parts) = 0;  // f32 [n_parts, attention_part_size()]

  // Returns the operations that train gates.
  virtual Distillation* distillation() = 0;

  // Chooses a token from each row of logits, and returns when the ids are on the host. A row's id is -1 if
  // its largest logit is not finite, because then there is no distribution to choose from. On one backend
  // equal rows give equal ids. Backends round probabilities differently, so on two of them ids may differ if
  // the draw lies on the very edge between two tokens.
  virtual void sample(std::span<int32_t> ids,  // [n], on the host
                      const Tensor& logits,    // f32 [n, n_vocab]; may be changed
                      std::span<const SampleRow> rows) = 0;

  // Computes log(sum(exp(logits))) - logits[target] for each row, and returns when the losses are on the
  // host. A loss is NaN if the row has a NaN or +inf, or no finite logit.
  virtual void token_losses(std::span<double> losses,               // [n], on the host
                            const Tensor& logits,                   // f32 [n, n_vocab]
                            std::span<const int32_t> targets) = 0;  // [n], on the host, each in [0, n_vocab)

  // ---- times ----

  virtual void begin_phase(Phase phase) = 0;
  virtual void end_phase(Phase phase) = 0;
  // Nanoseconds the device spent between begin_phase and end_phase, summed since reset_phases().
  virtual int64_t phase_ns(Phase phase) = 0;
  virtual void reset_phases() = 0;
};

// If n_threads is 0, there is one thread for each core this process may run on. `round_inputs`: inputs of
// quantised products are rounded as their format says (InputCodes). This is for comparisons with a GPU,
// because only a GPU gains speed by it. `bf16_inputs`: inputs of products of many rows are rounded to bf16,
// as PyTorch and llama.cpp round them if weights are bf16. This halves the time of the products
// (kernels/cpu/DESIGN.md, chapter 3). Throws Error{kUsage} if the count is out of range, and
// Error{kUnsupported} for bf16_inputs on a processor without AVX512-BF16.
std::unique_ptr<Backend> make_cpu_backend(int n_threads, bool round_inputs = false, bool bf16_inputs = false);
// Runs on GPU number `device`. `round_inputs`: a Hopper GPU rounds inputs of products of many rows with E4M3
// codes to E4M3, as their format says (InputCodes), which its tensor cores multiply about twice as fast. If
// not, inputs stay bf16, and the codes are widened. Throws Error{kDevice} if there is no driver or no such
// GPU, if either is too old, or if the build has no CUDA.
std::unique_ptr<Backend> make_cuda_backend(int device, bool round_inputs = true);
bool built_with_cuda();
int cuda_device_count();  // 0 if there is no driver, no GPU, or no CUDA in the build

}  // namespace seer
