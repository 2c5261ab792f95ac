// The CUDA implementation of Backend: bf16 activations, weights and KV pages, float32 accumulation, one
// stream.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "kernels/backend.h"
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/cuda_distillation.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/gemm_cublaslt.h"
#include "kernels/cuda/phase_timer.h"
#include "kernels/cuda/sample_state.h"
#include "kernels/cuda/step_state.h"
#include "kernels/cuda/uploader.h"

namespace seer::cuda {

struct BlockMaxima;
struct DecodeParams;
struct CodeMatrix;
struct RoundedInputs;

class CudaBackend final : public Backend {
 public:
  // The parameters are those of make_cuda_backend().
  CudaBackend(int device, bool round_inputs);
  ~CudaBackend() override;

  std::string description() const override;
  DType activation_dtype() const override { return DType::kBF16; }
  std::span<const DType> kv_dtypes() const override {
    static constexpr DType kTypes[] = {DType::kBF16};
    return kTypes;
  }
  bool has_own_memory() const override { return true; }
  std::optional<Memory> memory() override;
  void check_model(const ModelShape& shape) const override;
  Buffer allocate(int64_t bytes, const std::string& purpose) override;
  Tensor to_device(const Tensor& host, std::vector<Buffer>* keep) override;
  LinearWeights to_device(const LinearWeights& host, std::vector<Buffer>* keep) override;
  LinearWeights quantise(const LinearWeights& plain, WeightFormat format,
                         std::vector<Buffer>* buffers) override;
  void fill_random(const Tensor& out, uint64_t seed, float mean, float scale,
                   const RandomSlice& slice) override;
  void read(void* host, const Tensor& device) override;
  void read_rows(std::byte* host, int64_t stride, const Tensor& device,
                 std::span<const int64_t> rows) override;
  void write_rows(const Tensor& device, std::span<const int64_t> rows, const std::byte* host,
                  int64_t stride) override;
  std::unique_ptr<RecordCopier> make_record_copier(const std::vector<RecordPart>& parts,
                                                   int64_t record_bytes) override;
  Buffer allocate_host(int64_t bytes, const std::string& purpose) override;
  void check_device() override;
  std::optional<DeviceStream> stream() override { return DeviceStream{device_.index, stream_}; }
  void set_wait_check(const std::function<void(std::chrono::nanoseconds waited)>& check) override {
    wait_check_ = check;
  }
  void forget_recordings() override;

  int64_t step_bytes(const StepLimits& limits) const override;
  void prepare(const StepLimits& limits) override;
  void begin_step(const StepInput& in, int64_t page_tokens) override;
  void run_step(int64_t key, const std::function<void()>& operations) override;

  void embed(const Tensor& out, const Tensor& table, int64_t first_id) override;
  void rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight, double eps) override;
  bool rounds_inputs(const LinearWeights& w) const override;
  void linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) override;
  void add(const Tensor& x, const Tensor& y) override;
  void copy_columns(const Tensor& out, int64_t first, const Tensor& in) override;
  void copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                 std::span<const int64_t> in_rows) override;
  void silu_mul(const Tensor& out, const Tensor& gate_up) override;
  void norm_linear(const Tensor& out, const Tensor& h, const Tensor& x, const Tensor& norm, double eps,
                   const LinearWeights& w) override;
  void norm_swiglu(const Tensor& out, const Tensor& h, const Tensor& gate_up, const Tensor& x,
                   const Tensor& norm, double eps, const LinearWeights& w,
                   const LinearWeights* next) override;
  void gather_rows(const Tensor& out, const Tensor& x) override;

  void rope_table(const RopeTable& out, int64_t start, int64_t stride, std::span<const double> inv_freq,
                  double scaling) override;
  void decode_rope_table(const RopeTable& out, std::span<const double> inv_freq, double scaling,
                         int64_t multiple) override;
  void append_kv(const Tensor& q, const PagedKv& kv, const Tensor& qkv, const HeadNorms& norms,
                 const RopeTable& rope, const Step& step, const PooledBlocks* pooled) override;

  void gate_project(const Tensor& gate_q, const PagedKv& kv, const PooledBlocks& pooled, const GateView& gate,
                    const RopeTable& rope, const Segment& segment) override;
  void select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q, const PagedKv& kv,
                     const Segment& segment, const SelectRule& rule) override;
  void mark_blocks(const Tensor& marks, int64_t row, std::span<const BlockMask> masks) override;

  void prefill_attention(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                         const BlockMask* mask, int64_t first_token) override;
  void store_decode_gate_keys(const PagedKv& kv, const DecodeGateView& gate, const BlockRopes& ropes,
                              const Step& step) override;
  void select_decode_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& qkv,
                            const HeadNorms& norms, const RopeTable& rope, const PagedKv& kv,
                            const DecodeGateView& gate) override;
  void score_decode_blocks(const Tensor& scores, const Tensor& qkv, const HeadNorms& norms,
                           const RopeTable& rope, const PagedKv& kv, const DecodeGateView& gate) override;
  void keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) override;
  void decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                        const BlockMask* mask) override;
  void decode_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv) override;
  void masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv, const BlockMask& mask,
                             const BlockMask& room) override;
  void merge_attention(const Tensor& out, const Tensor& parts) override;

  Distillation* distillation() override;
  // Dense prefill attention of a prefill segment of the step, or of some of its tokens, with block maxima.
  void prefill_with_maxima(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& part,
                           const BlockMaxima& maxima);

  void sample(std::span<int32_t> ids, const Tensor& logits, std::span<const SampleRow> rows) override;
  void token_losses(std::span<double> losses, const Tensor& logits,
                    std::span<const int32_t> targets) override;

  void begin_phase(Phase phase) override;
  void end_phase(Phase phase) override;
  int64_t phase_ns(Phase phase) override;
  // Makes this device the calling thread's. This is needed because reset_phases() is the first operation of a
  // step, on whatever thread runs it, and the events that time the step must belong to this device.
  void reset_phases() override {
    use();
    timer_.reset();
  }

  void use() const;  // makes the device the calling thread's

 private:
  // Waits while `done` returns cudaErrorNotReady, and calls wait_check_ meanwhile. Throws for other errors.
  void wait_until(const std::function<cudaError_t()>& done);
  void wait();  // for the stream
  // At most one of `mask` and `maxima` is given.
  void prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
               const BlockMask* mask, int64_t first_token, const BlockMaxima* maxima);
  void prefill_sm90(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                    const BlockMask* mask, int64_t first_token, const BlockMaxima* maxima);
  // `longest`: see DecodeDivider::divide().
  DecodeParams decode_params(const Tensor& q, const PagedKv& kv, int64_t longest);
  // Returns decode_params() for an operation that writes a part.
  DecodeParams part_params(const Tensor& part, const Tensor& q, const PagedKv& kv, int64_t longest);
  // Returns the parameters for the step's decodes; the outputs are not set.
  DecodeGateSelectParams decode_gate_params(const Tensor& qkv, const HeadNorms& norms, const RopeTable& rope,
                                            const PagedKv& kv, const DecodeGateView& gate) const;
  // One product of x, or of its norm if `norm` is set. With `swiglu`, w is gate and up, and out is their
  // SwiGLU.
  struct Product {
    const Tensor& out;
    const Tensor& x;
    const LinearWeights& w;
    const Tensor* norm = nullptr;
    double eps = 0.0;
    bool accumulate = false, swiglu = false;
  };
  // Returns x with its columns in the order in which w takes its inputs: x itself, or rows of ordered_, which
  // are valid until the next call.
  Tensor ordered(const Tensor& x, const LinearWeights& w);
  // Run the product by the kernels for few rows and return true, or return false if they do not take it.
  bool few_rows(const Product& product);
  bool few_code_rows(const Product& product);
  int64_t most_code_rows(const LinearWeights& w) const;  // the most rows that few_code_rows() takes
  bool takes_batches(const LinearWeights& w) const;      // whether codes/batch.h takes the weight
  LinearWeights codes_to_device(const LinearWeights& host, std::vector<Buffer>* keep);
  // Takes memory for a matrix of codes in the layout of codes/, without memory for zeros and bias.
  LinearWeights::Part allocate_codes(DType type, int64_t d_out, int64_t d_in, int64_t group,
                                     InputCodes inputs, std::vector<Buffer>* keep);
  // Completes weights whose codes and scales are on the device, and counts the memory that products with them
  // need, for which prepare() makes room.
  void finish_codes(const LinearWeights& weights);
  // Returns quantised weights that are on the device as the kernels in codes/ take them.
  static CodeMatrix matrix(const LinearWeights& w);
  // The memory for scales of n_rows of inputs, and for the outputs of a product whose rows are padded.
  int64_t scale_bytes(int64_t n_rows) const;
  int64_t padded_bytes() const;
  // Makes room for products of n_rows with the quantised weights that are on the device so far.
  void prepare_codes(int64_t n_rows);
  // Computes out (+)= x W^T with rounded inputs. If there is a norm, the normalised x takes the place of x.
  // Codes are written to `h`, or to rounded_ if `h` is null.
  void linear_rounded(const Product& product, void* h);
  // Rounds inputs for w: codes to `codes`, scales to input_scales_.
  void round_for(const LinearWeights& w, RoundedInputs in, void* codes);
  // Computes out (+)= the product of the inputs that round_for() has rounded with W^T.
  void multiply_rounded(const Tensor& out, const void* codes, const LinearWeights& w, bool accumulate);
  // Returns whether weights have a second copy of their scales (CodeMatrix::spread_scale()), for products of
  // rounded inputs.
  bool spreads_scales(InputCodes inputs, int64_t group, int64_t d_in) const;
  // Returns whether cuBLASLt gets scales of groups for a product of n rounded rows.
  static bool takes_groups(const LinearWeights& w, int64_t n);
  // Returns whether the kernel that makes silu(gate) * up can also round it for `next`.
  bool rounds_swiglu(const Tensor& act, const LinearWeights* next) const;
  // Computes out (+)= x W^T, for which the weights are widened to bf16 first.
  void linear_widened(const Product& product);
  void multiply(const Tensor& out, const void* x, const void* w, const Tensor& bias, const GemmScales& scales,
                GemmShape shape);

  // A step recorded under its key. The first time, the step runs without a record, which loads every kernel;
  // the second time it is recorded, and from then on the record is replayed.
  struct Recording {
    cudaGraphExec_t graph = nullptr;
  };
  void record(Recording* recording, const std::function<void()>& operations);

  Device device_;
  bool round_inputs_;  // to E4M3, for weights whose format says so
  DecodeDivider decode_divider_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<GemmCublasLt> gemm_;
  std::unique_ptr<Uploader> uploader_;  // from the first weight to the first step
  // The largest sizes that products with quantised weights need. rounded_, ordered_, input_scales_, padded_,
  // widened_ and batch_inputs_ are the memory for them.
  struct CodeSizes {
    int64_t row_bytes = 0, row_scales = 0;  // of rounded inputs
    int64_t ordered_bytes = 0;              // of a row of inputs in another order
    int64_t group_scales = 0, outputs = 0;  // of a row of up to kMostSpreadRows
    int64_t widened_bytes = 0;
    int64_t batch_input_bytes = 0;
  };
  CodeSizes code_sizes_;
  DeviceMemory rounded_, ordered_, input_scales_, padded_, widened_, batch_inputs_;
  const void* act_codes_ = nullptr;  // the act that norm_swiglu() left as codes for the next product
  DeviceMemory staging_;             // codes on their way into their layout, while weights are loaded
  StepState step_;
  SampleState sample_;
  PinnedMemory token_losses_;  // losses and targets of token_losses_room_ rows
  int64_t token_losses_room_ = 0;
  PhaseTimer timer_;
  DeviceMemory decode_counters_, decode_partials_;
  DeviceMemory prefill_counter_;                    // one item counter, zero between launches
  std::unique_ptr<CudaDistillation> distillation_;  // from the first call of distillation() on
  // The key has the caller's key, longest_decode() and longest_list(), because launches of decode attention
  // depend on the latter two as well.
  std::map<std::tuple<int64_t, int64_t, int64_t>, Recording> recordings_;
  bool recording_ = false;
  std::function<void(std::chrono::nanoseconds waited)> wait_check_;
};

}  // namespace seer::cuda
