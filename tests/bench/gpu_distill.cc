// bench_gpu_ops distill: the time that training of gates adds to one layer of a window of 64k tokens, and
// that of a step's update of all gates.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/bench/gpu_bench.h"

namespace seer {
namespace {

constexpr int64_t kWindow = 65536, kBlocks = kWindow / kPage, kPart = 16384, kLayers = 32;

// One layer's tensors for gates of either kind. `n_heads` is that of scores.
class Gates {
 public:
  Gates(GpuBench& b, bool decode)
      : b_(b),
        decode_(decode),
        n_heads_(decode ? b.n_kv_heads() : b.n_heads()),
        group_(b.n_heads() / b.n_kv_heads()),
        rows_(decode ? ScoredRows{kWindow / 2, 1, kWindow / 2, kPage, false}
                     : ScoredRows{kBlocks / 4, 1, kBlocks - kBlocks / 4, 1, true}),
        qkv_(b.random({kWindow, (b.n_heads() + 2 * b.n_kv_heads()) * kHead}, 1.0F)),
        pools_q_(b.random({kBlocks, b.n_heads(), kHead}, 1.0F)),
        pools_k_(b.random({kBlocks, b.n_kv_heads(), kPools * kHead}, 1.0F)) {
    pooled_k_ = floats({b.n_kv_heads(), kBlocks, kPools * kHead});
    heads_ = floats({b.n_kv_heads(), decode ? rows_.n : 1, group_ * kHead});
    query_weight_ = floats({b.n_kv_heads(), group_ * kHead, kHead});
    key_weight_ = floats({n_heads_, kPools * kHead, kHead});
    norm_ = floats({kHead});
    for (Tensor* t : {&query_, &plain_query_, &d_query_}) *t = floats({n_heads_, rows_.n, kHead});
    for (Tensor* t : {&key_, &plain_key_, &d_key_}) *t = floats({n_heads_, kBlocks, kHead});
    for (Tensor* t : {&scores_, &truth_}) *t = floats({n_heads_, rows_.n, kBlocks});
    losses_ = floats({n_heads_, rows_.n});
    row_rope_ = {floats({rows_.n, kHead / 2}), floats({rows_.n, kHead / 2})};
    block_rope_ = {floats({kBlocks, kHead / 2}), floats({kBlocks, kHead / 2})};
    ops().fill(truth_, 1.0F / kBlocks);
  }

  const ScoredRows& rows() const { return rows_; }
  const Tensor& truth() const { return truth_; }
  double score_flops() const { return 2.0 * static_cast<double>(scores_.numel() * kHead); }
  double key_flops() const { return 2.0 * static_cast<double>(key_.numel() * kPools * kHead); }
  double query_flops() const {
    return decode_ ? 2.0 * static_cast<double>(query_.numel() * group_ * kHead) : 0.0;
  }
  double score_bytes() const { return static_cast<double>(scores_.nbytes()); }

  void forward() const {
    ops().split_heads(pooled_k_, pools_k_);
    if (decode_) {
      ops().group_queries(heads_, qkv_, {}, rows_, b_.n_heads(), kHead);
      ops().multiply(Matrices(plain_query_), Matrices(heads_), Matrices(query_weight_), 1.0F, false);
      ops().multiply(Matrices(plain_key_), Matrices(pooled_k_), Matrices(key_weight_), 1.0F, false);
      ops().normalise(query_, plain_query_, norm_, 1e-5F);
      ops().normalise(key_, plain_key_, norm_, 1e-5F);
    } else {
      ops().split_heads(query_, pools_q_.rows(rows_.first, rows_.n));
      for (int64_t g = 0; g < group_; ++g)
        ops().multiply(Matrices(key_).every(group_, g), Matrices(pooled_k_),
                       Matrices(key_weight_).every(group_, g), 1.0F, false);
    }
    ops().rotate_heads(query_, row_rope_, false);
    ops().rotate_heads(key_, block_rope_, false);
    ops().multiply(Matrices(scores_), Matrices(query_), Matrices(key_).transpose(), 0.1F, false);
  }
  void divergence() const { ops().kl_divergence(losses_, scores_, truth_, Tensor(), rows_, 1.0F); }
  void backward() const {
    ops().multiply(Matrices(d_key_), Matrices(scores_).transpose(), Matrices(query_), 0.1F, false);
    ops().rotate_heads(d_key_, block_rope_, true);
    if (!decode_) {
      for (int64_t g = 0; g < group_; ++g)
        ops().multiply(Matrices(key_weight_).every(group_, g), Matrices(pooled_k_).transpose(),
                       Matrices(d_key_).every(group_, g), 1.0F, true);
      return;
    }
    ops().multiply(Matrices(d_query_), Matrices(scores_), Matrices(key_), 0.1F, false);
    ops().rotate_heads(d_query_, row_rope_, true);
    ops().normalise_back(d_query_, norm_, plain_query_, norm_, 1e-5F);
    ops().normalise_back(d_key_, norm_, plain_key_, norm_, 1e-5F);
    ops().multiply(Matrices(query_weight_), Matrices(heads_).transpose(), Matrices(d_query_), 1.0F, true);
    ops().multiply(Matrices(key_weight_), Matrices(pooled_k_).transpose(), Matrices(d_key_), 1.0F, true);
  }

 private:
  Distillation& ops() const { return *b_.gpu()->distillation(); }
  // Small numbers: their sums stay finite, however often an operation is repeated.
  Tensor floats(std::initializer_list<int64_t> shape) const {
    const Tensor t = b_.tensor(DType::kF32, shape);
    ops().fill(t, 1e-3F);
    return t;
  }

  GpuBench& b_;
  bool decode_;
  int64_t n_heads_, group_;
  ScoredRows rows_;
  Tensor qkv_, pools_q_, pools_k_;
  Tensor pooled_k_, heads_, query_weight_, key_weight_, norm_;
  Tensor query_, plain_query_, d_query_, key_, plain_key_, d_key_, scores_, truth_, losses_;
  RopeTable row_rope_, block_rope_;
};

// Times attention with maxima of the whole window in parts, and both kinds of truth from the maxima of the
// last part.
void bench_window(GpuBench& b, const Gates& prefill, const Gates& decode) {
  Distillation& ops = *b.gpu()->distillation();
  const GpuBench::Sequence s = b.sequence(kWindow);
  const Tensor q = b.random({kWindow, b.n_heads(), kHead}, 1.0F), out = b.tensor(DType::kBF16, q),
               maxima = b.tensor(DType::kF32, {b.n_heads(), kPart, ops.maxima_width(kBlocks)}),
               log_sums = b.tensor(DType::kF32, {b.n_heads(), kPart});
  const Segment whole{0, kWindow, 0, s.table.data()};
  b.begin({}, {}, {whole}, {}, kWindow);
  const auto attend = [&] {
    for (int64_t first = 0; first < kWindow; first += kPart)
      ops.attention_with_maxima(out, maxima, log_sums, q, s.kv, {first, kPart, first, s.table.data()});
  };
  const int64_t n_pairs = kBlocks * (kBlocks + 1) / 2 * kPage * kPage;  // of a query and a key
  b.report("distill attention with maxima, parts of 16384 L=65536", b.time([&](int) { attend(); }), 0.0,
           4.0 * static_cast<double>(b.n_heads() * kHead) * static_cast<double>(n_pairs));
  // The last part has a quarter of the tokens, which see seven eighths of the blocks on average.
  const double seen = 4.0 * static_cast<double>(b.n_heads() * kPart * kBlocks) * 7.0 / 8.0;
  const double shares[] = {1.0 / 3.0, 1.0 / 2.0};  // of the rows that learn, in the last part
  b.report("distill prefill truth, last part", b.time([&](int) {
    ops.prefill_truth(prefill.truth(), maxima, log_sums, prefill.rows(), kPage, kWindow - kPart);
  }),
           seen + prefill.score_bytes() * shares[0], 0.0);
  b.report("distill decode truth, last part", b.time([&](int) {
    ops.decode_truth(decode.truth(), maxima, log_sums, decode.rows(), kWindow - kPart);
  }),
           seen + decode.score_bytes() * shares[1], 0.0);
}

void bench_learning(GpuBench& b, const std::string& name, const Gates& gates) {
  b.report("distill " + name + " gate forward", b.time([&](int) { gates.forward(); }), 0.0,
           gates.key_flops() + gates.query_flops() + gates.score_flops());
  b.report("distill " + name + " divergence", b.time([&](int) { gates.divergence(); }),
           3.0 * gates.score_bytes(), 0.0);
  // Gates for prompts with one weight have no gradient of queries.
  const double of_queries = gates.query_flops() > 0.0 ? gates.query_flops() + gates.score_flops() : 0.0;
  b.report("distill " + name + " gate backward", b.time([&](int) { gates.backward(); }), 0.0,
           gates.key_flops() + gates.score_flops() + of_queries);
}

void bench_update(GpuBench& b) {
  Distillation& ops = *b.gpu()->distillation();
  const int64_t of_layer = b.n_heads() * kPools * kHead * kHead, n = kLayers * of_layer;
  std::vector<Tensor> lists;
  for (int i = 0; i < 4; ++i) {
    lists.push_back(b.tensor(DType::kF32, {kLayers, of_layer}));
    ops.fill(lists.back(), 1e-3F);
  }
  AdamWStep step;
  step.learning_rate = 1e-3;
  const std::string weights = " of " + std::to_string(n) + " weights";
  const auto bytes = static_cast<double>(lists[0].nbytes());
  double sums[kLayers];
  b.report("distill sums of squares" + weights,
           b.time([&](int) { ops.sums_of_squares(sums, lists[1], of_layer); }), bytes, 0.0);
  b.report("distill adamw" + weights,
           b.time([&](int) { ops.adamw(lists[0], lists[1], lists[2], lists[3], step); }), 7.0 * bytes, 0.0);
}

}  // namespace

void bench_distill(GpuBench& b) {
  {
    const Gates prefill(b, /*decode=*/false), decode(b, /*decode=*/true);
    bench_window(b, prefill, decode);
    bench_learning(b, "prefill", prefill);
    bench_learning(b, "decode", decode);
  }
  b.release();
  bench_update(b);
  b.release();
}

}  // namespace seer
