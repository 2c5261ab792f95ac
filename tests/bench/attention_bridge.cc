#include "tests/bench/attention_bridge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "seer/error.h"

struct SeerBench {
  std::unique_ptr<seer::Backend> gpu;
};

namespace seer {
namespace {

thread_local std::string last_error;

// Turns exceptions into return codes, because an exception must not cross into Python.
int guarded(const std::function<void()>& call) {
  try {
    call();
    return 0;
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an unknown error";
  }
  return 1;
}

void expect(bool good, const std::string& what) {
  if (!good) throw Error(ErrorKind::kUsage, what);
}

std::string number(int64_t n) { return std::to_string(n); }

void check_shape(int64_t n_tokens, int64_t n_heads, int64_t n_kv_heads, int64_t d_head, int64_t page) {
  expect(page > 0 && n_tokens > 0 && n_tokens % page == 0,
         "expected a number of tokens that is a multiple of the page, found " + number(n_tokens) + " and " +
             number(page));
  expect(n_kv_heads > 0 && n_heads > 0 && n_heads % n_kv_heads == 0,
         "expected query heads in groups of one KV head, found " + number(n_heads) + " and " +
             number(n_kv_heads));
  expect(d_head > 0 && d_head % 2 == 0, "expected an even head size, found " + number(d_head));
}

double milliseconds(Backend* gpu, int n_calls, const std::function<void()>& call) {
  gpu->reset_phases();
  gpu->begin_phase(Phase::kAttention);
  for (int i = 0; i < n_calls; ++i) call();
  gpu->end_phase(Phase::kAttention);
  return static_cast<double>(gpu->phase_ns(Phase::kAttention)) * 1e-6 / n_calls;
}

void begin_step(Backend* gpu, const Segment& segment, int64_t page) {
  gpu->begin_step({{}, {segment.n_tokens, {&segment, 1}, {}}, {}}, page);
}

double time_attention(Backend* gpu, const SeerBenchAttention& a, int n_calls) {
  check_shape(a.n_tokens, a.n_heads, a.n_kv_heads, a.d_head, a.page_tokens);
  expect(n_calls > 0, "expected at least one call, found " + number(n_calls));
  expect(a.out != nullptr && a.q != nullptr && a.k != nullptr && a.v != nullptr && a.page_table != nullptr,
         "expected pointers to out, q, k, v and the page table, found a null pointer");
  expect((a.counts == nullptr) == (a.blocks == nullptr), "expected counts and blocks, or neither, found one");
  const int64_t n = a.n_tokens / a.page_tokens;
  expect(std::all_of(a.page_table, a.page_table + n, [&](int32_t p) { return p >= 0 && p < a.n_pages; }),
         "expected pages below " + number(a.n_pages) + " in the page table");

  const Tensor out(a.out, DType::kBF16, {a.n_tokens, a.n_heads, a.d_head});
  const Tensor q(a.q, DType::kBF16, {a.n_tokens, a.n_heads, a.d_head});
  PagedKv kv;
  kv.k = Tensor(a.k, DType::kBF16, {a.n_pages, a.n_kv_heads, a.page_tokens, a.d_head});
  kv.v = Tensor(a.v, DType::kBF16, {a.n_pages, a.n_kv_heads, a.page_tokens, a.d_head});
  const BlockMask mask{Tensor(a.counts, DType::kI32, {a.n_heads, n}),
                       Tensor(a.blocks, DType::kI32, {a.n_heads, n, n})};
  const Segment segment{0, a.n_tokens, 0, a.page_table};
  StepLimits limits;
  limits.n_blocks = n;
  limits.page_tokens = a.page_tokens;
  gpu->prepare(limits);
  begin_step(gpu, segment, a.page_tokens);
  return milliseconds(gpu, n_calls, [&] {
    gpu->prefill_attention(out, q, kv, segment, a.counts == nullptr ? nullptr : &mask, 0);
  });
}

// One layer's pages, activations and gate.
class GateLayer {
 public:
  GateLayer(Backend* gpu, const SeerBenchGate& g) : gpu_(gpu), g_(g) {
    check_shape(g.n_tokens, g.n_heads, g.n_kv_heads, g.d_head, g.page_tokens);
    expect(g.chunk >= g.page_tokens && g.chunk % g.page_tokens == 0,
           "expected a chunk that is a multiple of the page, found " + number(g.chunk));
    expect(g.n_calls > 0, "expected at least one call, found " + number(g.n_calls));
    const int64_t n_pages = g.n_tokens / g.page_tokens, chunk = std::min(g.chunk, g.n_tokens),
                  n_rows = chunk / g.page_tokens, half = g.d_head / 2;
    kv_.k = tensor(DType::kBF16, {n_pages, g.n_kv_heads, g.page_tokens, g.d_head});
    kv_.v = tensor(DType::kBF16, {n_pages, g.n_kv_heads, g.page_tokens, g.d_head});
    kv_.gate_k = tensor(DType::kBF16, {n_pages, g.n_heads, g.d_head});
    qkv_ = random({chunk, (g.n_heads + 2 * g.n_kv_heads) * g.d_head}, 1.0F);
    q_ = tensor(DType::kBF16, {chunk, g.n_heads, g.d_head});
    out_ = tensor(DType::kBF16, {chunk, g.n_heads, g.d_head});
    rope_ = {tensor(DType::kF32, {chunk, half}), tensor(DType::kF32, {chunk, half})};
    block_rope_ = {tensor(DType::kF32, {n_rows, half}), tensor(DType::kF32, {n_rows, half})};
    pooled_.q_pools.avg = true;
    pooled_.k_pools = {true, true, true};
    pooled_.q = tensor(DType::kBF16, {n_rows, g.n_heads, g.d_head});
    pooled_.k = tensor(DType::kBF16, {n_rows, g.n_kv_heads, 3 * g.d_head});
    pooled_.projected = tensor(DType::kF32, {n_rows, g.n_heads, g.d_head});
    gate_.q_pools = pooled_.q_pools;
    gate_.k_pools = pooled_.k_pools;
    gate_.linear_k = random({g.n_heads, 3 * g.d_head, g.d_head}, 0.05F);
    gate_q_ = tensor(DType::kBF16, {n_rows, g.n_heads, g.d_head});
    counts_ = tensor(DType::kI32, {g.n_heads * n_rows});
    blocks_ = tensor(DType::kI32, {g.n_heads * n_rows, n_pages});
    // Pages are shuffled, as in a long-lived pool.
    table_.resize(static_cast<size_t>(n_pages));
    std::iota(table_.begin(), table_.end(), 0);
    uint64_t state = 1;
    for (size_t i = table_.size() - 1; i > 0; --i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      std::swap(table_[i], table_[(state >> 33) % (i + 1)]);
    }
    for (int64_t i = 0; i < half; ++i)
      frequencies_.push_back(std::pow(500000.0, -static_cast<double>(i) / static_cast<double>(half)));
    StepLimits limits;
    limits.n_blocks = n_pages;
    limits.page_tokens = g.page_tokens;
    gpu->prepare(limits);
  }

  SeerBenchGateTimes run() {
    SeerBenchGateTimes sum = {};
    int64_t kept = 0, causal = 0;
    for (int64_t start = 0; start < g_.n_tokens; start += g_.chunk) {
      const Segment segment{0, std::min(g_.chunk, g_.n_tokens - start), start, table_.data()};
      kept += run_chunk(segment, &sum);
      for (int64_t b = start / g_.page_tokens; b < segment.end() / g_.page_tokens; ++b)
        causal += (b + 1) * g_.n_heads;
    }
    sum.density = static_cast<double>(kept) / static_cast<double>(causal);
    return sum;
  }

 private:
  // Returns how many blocks the chunk kept.
  int64_t run_chunk(const Segment& segment, SeerBenchGateTimes* sum) {
    const int64_t n_tokens = segment.n_tokens, n_rows = n_tokens / g_.page_tokens, n_blocks = kv_.k.dim(0);
    begin_step(gpu_, segment, g_.page_tokens);
    const RopeTable rope{rope_.cos.rows(0, n_tokens), rope_.sin.rows(0, n_tokens)};
    const RopeTable block_rope{block_rope_.cos.rows(0, n_rows), block_rope_.sin.rows(0, n_rows)};
    gpu_->rope_table(rope, segment.start, 1, frequencies_, 1.0);
    gpu_->rope_table(block_rope, segment.start, g_.page_tokens, frequencies_, 1.0);
    const Tensor qkv = qkv_.rows(0, n_tokens), q = q_.rows(0, n_tokens), gate_q = gate_q_.rows(0, n_rows);
    const PooledBlocks pooled = pooled_.rows(0, n_rows);
    const Step step{n_tokens, {&segment, 1}, {}};
    const BlockMask mask{counts_.rows(0, g_.n_heads * n_rows).reshaped({g_.n_heads, n_rows}),
                         blocks_.rows(0, g_.n_heads * n_rows).reshaped({g_.n_heads, n_rows, n_blocks})};
    const bool by_threshold = g_.threshold > 0.0;
    const SelectRule rule{by_threshold ? SelectRule::Method::kThreshold : SelectRule::Method::kNzRatio,
                          by_threshold ? g_.threshold : g_.nz_ratio, true, n_blocks};

    sum->append += time([&] { gpu_->append_kv(q, kv_, qkv, {}, rope, step, nullptr); });
    sum->append_pooled += time([&] { gpu_->append_kv(q, kv_, qkv, {}, rope, step, &pooled); });
    sum->project += time([&] { gpu_->gate_project(gate_q, kv_, pooled, gate_, block_rope, segment); });
    sum->select += time([&] { gpu_->select_blocks(mask, nullptr, gate_q, kv_, segment, rule); });
    sum->attention +=
        time([&] { gpu_->prefill_attention(out_.rows(0, n_tokens), q, kv_, segment, &mask, 0); });
    std::vector<int32_t> counts(static_cast<size_t>(mask.counts.numel()));
    gpu_->read(counts.data(), mask.counts);
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }

  // Returns the median of three rounds, because one chunk's operations are short.
  double time(const std::function<void()>& call) {
    milliseconds(gpu_, 1, call);
    std::array<double, 3> rounds{};
    for (double& ms : rounds) ms = milliseconds(gpu_, g_.n_calls, call);
    std::nth_element(rounds.begin(), rounds.begin() + 1, rounds.end());
    return rounds[1];
  }

  Tensor tensor(DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    kept_.push_back(gpu_->allocate(t.nbytes(), "a bench"));
    t.data = kept_.back().get();
    return t;
  }
  Tensor random(std::initializer_list<int64_t> shape, float scale) {
    const Tensor t = tensor(DType::kBF16, shape);
    gpu_->fill_random(t, seed_++, 0.0F, scale, {});
    return t;
  }

  Backend* gpu_;
  SeerBenchGate g_;
  std::vector<Buffer> kept_;
  std::vector<int32_t> table_;
  std::vector<double> frequencies_;
  uint64_t seed_ = 1;
  PagedKv kv_;
  PooledBlocks pooled_;
  GateView gate_;
  RopeTable rope_, block_rope_;
  Tensor qkv_, q_, out_, gate_q_, counts_, blocks_;
};

}  // namespace
}  // namespace seer

const char* seer_bench_error(void) { return seer::last_error.c_str(); }

int seer_bench_open(SeerBench** out, int device) {
  return seer::guarded([&] {
    auto bench = std::make_unique<SeerBench>();
    bench->gpu = seer::make_cuda_backend(device);
    *out = bench.release();
  });
}

void seer_bench_close(SeerBench* bench) { delete bench; }

int seer_bench_attention(SeerBench* bench, const SeerBenchAttention* what, int32_t n_calls, double* ms) {
  return seer::guarded([&] { *ms = seer::time_attention(bench->gpu.get(), *what, n_calls); });
}

int seer_bench_gate(SeerBench* bench, const SeerBenchGate* what, SeerBenchGateTimes* out) {
  return seer::guarded([&] { *out = seer::GateLayer(bench->gpu.get(), *what).run(); });
}
