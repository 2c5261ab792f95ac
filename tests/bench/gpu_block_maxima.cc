// bench_gpu_ops: attention that writes block maxima, next to the ordinary kernels, and ground truth for
// gates.
#include <cmath>

#include "kernels/cuda/attention/block_maxima/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/distillation/params.h"
#include "seer/error.h"
#include "tests/bench/gpu_bench.h"

namespace seer {
namespace {

// One dense prompt with its maxima.
class Prompt {
 public:
  Prompt(GpuBench& b, int64_t length)
      : b_(b), length_(length), sequence_(b.sequence(length)), device_(cuda::Device::open(0)) {
    q_ = b.random({length, b.n_heads(), kHead}, 1.0F);
    out_ = b.tensor(DType::kBF16, q_);
    const auto n_pages = static_cast<int64_t>(sequence_.table.size());
    const auto upload = [&](std::vector<int32_t>* values) {
      return b.gpu()->to_device(Tensor(values->data(), DType::kI32, {static_cast<int64_t>(values->size())}),
                                b.keep());
    };
    table_ = upload(&sequence_.table);
    std::vector<int32_t> zero = {0}, chosen;
    next_item_ = upload(&zero);
    for (int64_t t = length / 2; t < length; ++t) chosen.push_back(static_cast<int32_t>(t));
    chosen_ = upload(&chosen);
    maxima_ = b.tensor(DType::kF32, {b.n_heads(), length, cuda::maxima_row_capacity(n_pages)});
    log_sums_ = b.tensor(DType::kF32, {b.n_heads(), length});
    prefill_truth_ = b.tensor(DType::kF32, {b.n_heads(), n_pages, n_pages});
    decode_truth_ = b.tensor(DType::kF32, {b.n_kv_heads(), chosen_.dim(0), n_pages});
  }

  // The kernels, with maxima and without.
  void attention_sm80(bool with_maxima) const {
    cuda::PrefillSm80Params p = params<cuda::PrefillSm80Params>();
    p.k = sequence_.kv.k.data;
    p.v = sequence_.kv.v.data;
    p.page_tokens = static_cast<int>(kPage);
    cuda::check(with_maxima ? launch_block_maxima_sm80(p, block_maxima(), stream())
                            : launch_prefill_sm80(p, stream()),
                "prefill_sm80");
  }
  void attention_sm90(bool with_maxima) const {
    cuda::PrefillSm90Params p = params<cuda::PrefillSm90Params>();
    p.next_item = next_item_.as<int32_t>();
    cuda::TileMaps maps;
    const Tensor &k = sequence_.kv.k, &v = sequence_.kv.v;
    if (!make_tile_maps(&maps, p, k.data, v.data, k.dim(0), length_))
      throw Error(ErrorKind::kDevice, "the driver made no tensor map");
    const int n = device_.n_multiprocessors;
    cuda::check(with_maxima ? launch_block_maxima_sm90(p, maps, block_maxima(), n, stream())
                            : launch_prefill_sm90(p, maps, n, stream()),
                "prefill_sm90");
  }
  void prefill_truth() const {
    cuda::check(launch_prefill_truth(
                    cuda::PrefillTruthParams{prefill_truth_.as<float>(), row_maxima(), prefill_truth_.dim(2)},
                    stream()),
                "prefill_truth");
  }
  void decode_truth() const {
    cuda::check(
        launch_decode_truth(
            cuda::DecodeTruthParams{decode_truth_.as<float>(), row_maxima(), chosen_.as<int32_t>(),
                                    chosen_.dim(0), decode_truth_.dim(2), static_cast<int>(b_.n_kv_heads())},
            stream()),
        "decode_truth");
  }
  bool is_hopper() const { return device_.is_hopper(); }

  // What the kernels must move: the maxima up to each row's own block, and the truth whole.
  double prefill_truth_bytes() const {
    return 4.0 * static_cast<double>(b_.n_heads() * kPage * causal(0)) +
           static_cast<double>(prefill_truth_.nbytes());
  }
  double decode_truth_bytes() const {
    return 4.0 * static_cast<double>(b_.n_heads() * kPage * causal(prefill_truth_.dim(2) / 2)) +
           static_cast<double>(decode_truth_.nbytes());
  }
  double flops() const { return 4.0 * static_cast<double>(b_.n_heads() * kPage * kPage * kHead * causal(0)); }

 private:
  // The pairs of a query block, from block `first` on, and a causal key block.
  int64_t causal(int64_t first) const {
    const int64_t n = prefill_truth_.dim(2);
    return n * (n + 1) / 2 - first * (first + 1) / 2;
  }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(b_.gpu()->stream()->stream); }
  cuda::BlockMaxima block_maxima() const {
    return {maxima_.as<float>(), log_sums_.as<float>(), maxima_.dim(2)};
  }
  cuda::RowMaxima row_maxima() const {
    return {maxima_.as<float>(),
            log_sums_.as<float>(),
            maxima_.dim(2),
            length_,
            0,
            static_cast<int>(b_.n_heads()),
            static_cast<int>(kPage)};
  }
  template <class Params>
  Params params() const {
    Params p = {};
    p.out = out_.data;
    p.q = q_.data;
    p.page_table = table_.as<int32_t>();
    p.n_tokens = length_;
    p.n_heads = static_cast<int>(b_.n_heads());
    p.n_kv_heads = static_cast<int>(b_.n_kv_heads());
    p.d_head = static_cast<int>(kHead);
    p.scale = 1.0F / std::sqrt(static_cast<float>(kHead));
    return p;
  }

  GpuBench& b_;
  int64_t length_;
  GpuBench::Sequence sequence_;
  cuda::Device device_;
  Tensor q_, out_, table_, next_item_, chosen_, maxima_, log_sums_, prefill_truth_, decode_truth_;
};

}  // namespace

// Each kernel with maxima comes after the ordinary one, and both are timed twice by turns, since the card's
// clock changes while it is busy. Decode truth is that of all rows from half the prompt on.
void bench_block_maxima(GpuBench& b) {
  for (const int64_t length : {8192, 32768, 65536}) {
    {
      const Prompt prompt(b, length);
      const std::string name = " L=" + std::to_string(length);
      const auto compare = [&](const std::string& kernel, void (Prompt::*attention)(bool) const) {
        for (int round = 0; round < 2; ++round)
          for (const bool with_maxima : {false, true})
            b.report(kernel + (with_maxima ? ", block maxima" : ", dense") + name,
                     b.time([&](int) { (prompt.*attention)(with_maxima); }), 0.0, prompt.flops());
      };
      if (prompt.is_hopper()) compare("prefill_sm90", &Prompt::attention_sm90);
      compare("prefill_sm80", &Prompt::attention_sm80);
      b.report("prefill_truth" + name, b.time([&](int) { prompt.prefill_truth(); }),
               prompt.prefill_truth_bytes(), 0.0);
      b.report("decode_truth" + name, b.time([&](int) { prompt.decode_truth(); }),
               prompt.decode_truth_bytes(), 0.0);
    }
    b.release();
  }
}

}  // namespace seer
