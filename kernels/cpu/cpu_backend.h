// The CPU implementation of Backend: float32 activations and gate keys, keys and values in float32 or bf16,
// weights read in their stored type.
//
// This backend's own threads divide the work, and each call of OpenBLAS runs on one of them. So matrix
// products and the operations between them share one pool of threads.
#pragma once

#include <array>
#include <chrono>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/openblas.h"
#include "kernels/cpu/record_copier.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/thread_pool.h"

namespace seer {

class CpuBackend final : public Backend, public Distillation {
 public:
  // The parameters are those of make_cpu_backend(), but n_threads must be 1 or more.
  CpuBackend(int n_threads, bool round_inputs, bool bf16_inputs = false);

  std::string description() const override;
  DType activation_dtype() const override { return DType::kF32; }
  std::span<const DType> kv_dtypes() const override {
    static constexpr DType kTypes[] = {DType::kF32, DType::kBF16};
    return kTypes;
  }
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
  std::unique_ptr<RecordCopier> make_record_copier(const std::vector<RecordPart>& parts, int64_t) override {
    return std::make_unique<CpuRecordCopier>(parts);
  }
  Buffer allocate_host(int64_t bytes, const std::string& purpose) override {
    return allocate(bytes, purpose);
  }

  void begin_step(const StepInput& in, [[maybe_unused]] int64_t page_tokens) override { step_ = in; }

  void embed(const Tensor& out, const Tensor& table, int64_t first_id) override;
  void rms_norm(const Tensor& out, const Tensor& x, const Tensor& weight, double eps) override;
  bool rounds_inputs(const LinearWeights&) const override { return round_inputs_; }
  void linear(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate) override;
  void add(const Tensor& x, const Tensor& y) override;
  void copy_columns(const Tensor& out, int64_t first, const Tensor& in) override;
  void copy_rows(const Tensor& out, std::span<const int64_t> out_rows, const Tensor& in,
                 std::span<const int64_t> in_rows) override;
  void silu_mul(const Tensor& out, const Tensor& gate_up) override;
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
  void decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                        const BlockMask* mask) override;
  void decode_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv) override;
  void score_decode_blocks(const Tensor& scores, const Tensor& qkv, const HeadNorms& norms,
                           const RopeTable& rope, const PagedKv& kv, const DecodeGateView& gate) override;
  void keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) override;
  void masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv, const BlockMask& mask,
                             const BlockMask& room) override;
  void merge_attention(const Tensor& out, const Tensor& parts) override;

  Distillation* distillation() override { return this; }
  void attention_with_maxima(const Tensor& out, const Tensor& maxima, const Tensor& log_sums, const Tensor& q,
                             const PagedKv& kv, const Segment& part) override;
  void prefill_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                     const ScoredRows& rows, int64_t page_tokens, int64_t first_token) override;
  void decode_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums, const ScoredRows& rows,
                    int64_t first_token) override;
  void split_heads(const Tensor& out, const Tensor& in) override;
  void group_queries(const Tensor& out, const Tensor& qkv, const HeadNorms& norms, const ScoredRows& rows,
                     int64_t n_heads, int64_t d_head) override;
  void multiply(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                bool accumulate) override;
  void rotate_heads(const Tensor& x, const RopeTable& rope, bool back) override;
  void normalise(const Tensor& out, const Tensor& x, const Tensor& weight, float eps) override;
  void normalise_back(const Tensor& dy, const Tensor& d_weight, const Tensor& x, const Tensor& weight,
                      float eps) override;
  void kl_divergence(const Tensor& losses, const Tensor& scores, const Tensor& truth, const Tensor& weights,
                     const ScoredRows& rows, float scale) override;
  void fill(const Tensor& out, float value) override;
  void copy(const Tensor& out, const Tensor& in) override;
  void write(const Tensor& out, const float* host) override;
  void sums_of_squares(double* sums, const Tensor& x, int64_t n) override;
  void adamw(const Tensor& parameters, const Tensor& gradients, const Tensor& moments,
             const Tensor& second_moments, const AdamWStep& step) override;

  void sample(std::span<int32_t> ids, const Tensor& logits, std::span<const SampleRow> rows) override;

  void token_losses(std::span<double> losses, const Tensor& logits,
                    std::span<const int32_t> targets) override;

  void begin_phase(Phase phase) override;
  void end_phase(Phase phase) override;
  int64_t phase_ns(Phase phase) override;
  void reset_phases() override;

 private:
  // Float scratch that only grows. It must be sized before tasks start, because they may not throw.
  class Scratch {
   public:
    float* reserve(int64_t n_floats);
    float* data() const { return data_; }

   private:
    Buffer memory_;
    float* data_ = nullptr;
    int64_t capacity_ = 0;
  };
  void reserve_thread_scratch(int64_t n_floats);
  float* thread_scratch(int thread) const { return thread_scratch_[static_cast<size_t>(thread)].data(); }

  LinearWeights::Part quantise_part(const LinearWeights::Part& plain, WeightFormat format,
                                    std::vector<Buffer>* buffers);
  // Returns the inputs that each part of w multiplies: x in the part's order, and rounded if the format says
  // so and this backend follows it. Copies lie in scratch_.
  std::vector<const float*> inputs_of_parts(const Tensor& x, const LinearWeights& w);
  // Returns the same inputs in the form that products with each part's codes take.
  struct FormedInputs {
    const float* data;
    int64_t stride;  // floats from one row to the next
  };
  std::vector<FormedInputs> formed_inputs(const Tensor& x, const LinearWeights& w);
  void linear_few_rows(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate);
  struct Panel {
    const LinearWeights::Part* part;
    const float* inputs;
    const uint16_t* rounded;  // the inputs as bf16, bf16_stride(d_in) apart; null: they are not rounded
    int64_t begin, end;       // rows of the part's weight
    int64_t column;           // of the output
  };
  // Returns, for each part, the n inputs that it multiplies, rounded to bf16, or null if its products do not
  // round them.
  std::vector<const uint16_t*> rounded_inputs(const std::vector<const float*>& inputs, int64_t n,
                                              const LinearWeights& w);
  std::vector<Panel> panels_of(const Tensor& x, const LinearWeights& w);
  // Writes out [n_rows, the panel's outputs], whose rows are d_out floats apart. Widens weights into the
  // thread's scratch.
  void multiply_panel(float* out, int64_t d_out, const Panel& panel, int64_t row, int64_t n_rows,
                      bool accumulate, int thread) const;
  void linear_many_rows(const Tensor& out, const Tensor& x, const LinearWeights& w, bool accumulate);
  struct Maxima {
    const Tensor &blocks, &log_sums;
  };
  // Does what prefill_attention() does. If `maxima` is given, its tensors get what attention_with_maxima()
  // writes, and `mask` must be null.
  void attend_prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                      const BlockMask* mask, int64_t first_token, const Maxima* maxima);
  // Writes the normalised outputs [n, n_heads, d_head] of consecutive segments, and the logarithms [n,
  // n_heads] if log_sums is given. Writes nothing for a segment without keys. If a mask is given, only its
  // pages are attended to, and of these only the ones that are not -1 in the page table; if none is left, the
  // outputs are zeros and no logarithm is written.
  void attend_decodes(float* out, float* log_sums, const Tensor& q, const PagedKv& kv,
                      std::span<const Segment> segments, const BlockMask* mask);
  // Does what decode_attention_part() does, for these segments instead of the step's decode_parts.
  void attend_part(const Tensor& part, const Tensor& q, const PagedKv& kv, std::span<const Segment> segments,
                   const BlockMask* mask);
  // The weights of a decode gate's norms in float32; null if the gate has none.
  struct DecodeGateNorms {
    const float* q = nullptr;
    const float* k = nullptr;
  };
  DecodeGateNorms decode_gate_norms(const DecodeGateView& gate);  // the values are in formed_
  // Writes the gate query [d_gate] of a decode and KV head: the query heads of the group are pooled,
  // projected and normalised. `heads` [group, d_head] are these heads. `norm` is null if the gate has no
  // norms. `row` is scratch for d_gate + d_head numbers.
  void decode_gate_query(float* out, const float* heads, int64_t group, int64_t d_head, int64_t kv_head,
                         const DecodeGateView& gate, const float* norm, float* row) const;
  class DecodeScorer;  // scores the blocks of one decode and KV head
  // Softmaxes n scores.
  void softmax(float* scores, int64_t n) const;
  // Writes one list of the mask: the blocks that the rule keeps of n blocks. `scores` are theirs before the
  // softmax; they are softmaxed in place if the rule is a threshold. `order` is scratch for n numbers.
  void keep_by_rule(const BlockMask& mask, int64_t list, int32_t* order, float* scores, int64_t n,
                    const DecodeRule& rule, int64_t page_tokens) const;
  // The norms of a HeadNorms in float32; null if there are none.
  struct FloatNorms {
    const float* q = nullptr;
    const float* k = nullptr;
    float eps = 0.0F;
  };
  FloatNorms float_norms(const HeadNorms& norms, int64_t d_head);  // the weights are converted into scratch_
  struct Heads {
    const float* data;
    int64_t stride;  // floats from one head to the next
  };
  // Returns n normalised heads in the thread's scratch, or the heads as they are if there is no weight.
  Heads normalise(const Heads& in, int64_t n, const float* weight, float eps, int64_t d_head,
                  int thread) const {
    if (weight == nullptr) return in;
    float* out = thread_scratch(thread);
    for (int64_t i = 0; i < n; ++i)
      simd_.rms_norm(out + i * d_head, in.data + i * in.stride, weight, d_head, eps);
    return {out, d_head};
  }
  // Writes the pools of the segment's blocks to the rows of `pooled` from first_row on.
  void pool_blocks(const PooledBlocks& pooled, int64_t first_row, const Tensor& qkv, const FloatNorms& norms,
                   const PagedKv& kv, const Segment& segment);

  bool round_inputs_, bf16_inputs_;
  StepInput step_;  // views of the caller's memory
  ThreadPool pool_;
  OpenblasCallers openblas_;
  const simd::Functions& simd_;
  std::vector<Scratch> thread_scratch_;
  Scratch scratch_;  // the calling thread's, for one operation at a time
  Scratch formed_;   // formed_inputs and rounded_inputs
  std::array<std::chrono::steady_clock::time_point, 3> phase_begin_{};
  std::array<int64_t, 3> phase_ns_{};
};

// Returns the name that the simd kernels have for a stored type.
simd::WeightType weight_type(DType dtype);

}  // namespace seer
