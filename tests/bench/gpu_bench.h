// The groups of bench_gpu_ops all use this: a GPU with its roofs, random tensors in its memory, the time of
// an operation, and a line of the report.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"

namespace seer {

inline constexpr int64_t kHead = 128, kPage = 64, kPools = 3;  // pools: of keys

class GpuBench {
 public:
  // Prints the device and measures its roofs: a copy, and a large product.
  GpuBench(int64_t n_heads, int64_t n_kv_heads);

  Backend* gpu() const { return gpu_.get(); }
  int64_t n_heads() const { return n_heads_; }
  int64_t n_kv_heads() const { return n_kv_heads_; }

  // Tensors in device memory. They are valid until release() of a smaller number than n_kept() was before.
  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape);
  Tensor tensor(DType dtype, const Tensor& like);
  Tensor random(std::initializer_list<int64_t> shape, float scale);  // bf16, uniform in [-scale, scale]
  LinearWeights random_codes(int64_t d_out, int64_t d_in, DType type, int64_t group, InputCodes inputs);
  // Pages of n_tokens tokens in shuffled order; without keys and values if `keys` is false.
  struct Sequence {
    PagedKv kv;
    std::vector<int32_t> table;
  };
  Sequence sequence(int64_t n_tokens, bool keys = true);
  // A mask of n query blocks, and how many blocks it keeps over all heads: the diagonal and random others of
  // each row, ascending. If `shared` is true, all heads keep the blocks of the first head.
  std::pair<BlockMask, int64_t> random_mask(int64_t n, double density, bool shared);
  std::vector<Buffer>* keep() { return &kept_; }
  size_t n_kept() const { return kept_.size(); }
  void release(size_t n = 0) { kept_.resize(n); }
  uint64_t next();  // a random number

  // Opens a step whose sequences have at most `length` tokens.
  void begin(const std::vector<int32_t>& ids, const std::vector<int64_t>& rows,
             const std::vector<Segment>& prefills, const std::vector<Segment>& decodes, int64_t length,
             const std::vector<DecodeRule>& decode_rules = {});
  // Returns the seconds of one call: the median of several rounds, in each of which calls follow one another.
  // `call` gets the number of the call.
  double time(const std::function<void(int)>& call);
  // The same for calls that the backend can record as a CUDA graph. They are replayed from that, as in a step
  // that decodes; otherwise an operation of less than about 5 us would wait for the host.
  double time_recorded(const std::function<void()>& call);
  // Prints a line. It has no rate of bytes if these are 0, and no rate of operations if those are 0.
  void report(const std::string& name, double seconds, double bytes, double flops) const;

 private:
  double median_of_rounds(int n, const std::function<void()>& round);
  std::unique_ptr<Backend> gpu_;
  int64_t n_heads_, n_kv_heads_;
  std::vector<Buffer> kept_;
  uint64_t seed_ = 1, state_ = 1;
  double copy_rate_ = 1.0, flop_rate_ = 1.0;
  int64_t next_record_ = 1;
};

// The groups. Each prints its lines and releases its tensors.
void bench_linear(GpuBench& b);
void bench_codes(GpuBench& b);
void bench_append(GpuBench& b);
void bench_decode(GpuBench& b);
void bench_prefill(GpuBench& b);
void bench_block_maxima(GpuBench& b);
void bench_distill(GpuBench& b);
void bench_gate(GpuBench& b);
void bench_decode_gate(GpuBench& b);
void bench_sample(GpuBench& b);

}  // namespace seer
