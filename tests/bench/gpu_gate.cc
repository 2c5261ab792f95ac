// bench_gpu_ops: the gate's path.
#include <cmath>
#include <utility>

#include "tests/bench/gpu_bench.h"

namespace seer {

// Projection and selection for one chunk at the end of a prompt, and then for all its chunks: the gate's part
// of one layer. There are weights and gate keys of so many layers that they do not stay in L2. The pools are
// fresh from append_kv, as in a model.
void bench_gate(GpuBench& b) {
  constexpr int64_t kChunk = 8192, kRows = kChunk / kPage;
  using Method = SelectRule::Method;
  for (const int64_t length : {8192, 32768, 131072, 1048576}) {
    const int64_t n = length / kPage;
    GpuBench::Sequence s = b.sequence(length, /*keys=*/false);
    const auto n_layers = static_cast<size_t>(length > 131072 ? 2 : 16);
    std::vector<PagedKv> layers(n_layers, s.kv);
    std::vector<GateView> gates(n_layers);
    for (size_t l = 0; l < n_layers; ++l) {
      layers[l].gate_k = b.random({n, b.n_heads(), kHead}, 1.0F);
      gates[l].linear_k = b.random({b.n_heads(), kPools * kHead, kHead}, 0.05F);
    }
    PooledBlocks pooled;
    pooled.q = b.random({kRows, b.n_heads(), kHead}, 1.0F);
    pooled.k = b.random({kRows, b.n_kv_heads(), kPools * kHead}, 1.0F);
    pooled.projected = b.tensor(DType::kF32, {kRows, b.n_heads(), kHead});
    const Tensor gate_q = b.tensor(DType::kBF16, {kRows, b.n_heads(), kHead});
    const RopeTable rope{b.tensor(DType::kF32, {kRows, kHead / 2}),
                         b.tensor(DType::kF32, {kRows, kHead / 2})};
    const BlockMask mask{b.tensor(DType::kI32, {b.n_heads(), kRows}),
                         b.tensor(DType::kI32, {b.n_heads(), kRows, n})};
    std::vector<double> inv_freq;
    for (int64_t i = 0; i < kHead / 2; ++i)
      inv_freq.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / static_cast<double>(kHead)));

    const auto project = [&](size_t layer, const Segment& segment) {
      b.gpu()->gate_project(gate_q, layers[layer], pooled, gates[layer], rope, segment);
    };
    const auto select = [&](size_t layer, const Segment& segment, const SelectRule& rule) {
      b.gpu()->select_blocks(mask, nullptr, gate_q, layers[layer], segment, rule);
    };
    const auto open = [&](int64_t start) {
      const Segment segment{0, kChunk, start, s.table.data()};
      b.begin({}, {}, {segment}, {}, length);
      b.gpu()->rope_table(rope, start, kPage, inv_freq, 1.0);
      return segment;
    };
    const std::string where = " chunk=8192 L=" + std::to_string(length);
    const Segment last = open(length - kChunk);
    b.report("gate_project" + where, b.time([&](int i) { project(static_cast<size_t>(i) % n_layers, last); }),
             static_cast<double>(gates[0].linear_k.nbytes()),
             2.0 * static_cast<double>(kRows * b.n_heads() * kPools * kHead * kHead));
    const std::pair<const char*, SelectRule> rules[] = {
        {"threshold", {Method::kThreshold, 0.002, true, n}},
        {"nz_ratio", {Method::kNzRatio, 0.1, true, n}},
        {"nz_ratio_row", {Method::kNzRatioRow, 0.1, true, n}}};
    for (const auto& r : rules)
      b.report(std::string("gate_select ") + r.first + where,
               b.time([&](int i) { select(static_cast<size_t>(i) % n_layers, last, r.second); }),
               static_cast<double>(layers[0].gate_k.nbytes()),
               2.0 * static_cast<double>(b.n_heads() * kRows * n * kHead));
    for (const auto& r : rules) {
      if (length > 131072) break;  // 128 chunks
      double seconds = 0.0;
      for (int64_t start = 0; start < length; start += kChunk) {
        const Segment segment = open(start);
        seconds += b.time([&](int i) {
          project(static_cast<size_t>(i) % n_layers, segment);
          select(static_cast<size_t>(i) % n_layers, segment, r.second);
        });
      }
      b.report(std::string("gate path per layer, whole prompt, ") + r.first + " L=" + std::to_string(length),
               seconds, 0.0, 0.0);
    }
    b.release();
  }
}

}  // namespace seer
