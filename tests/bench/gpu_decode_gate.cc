// bench_gpu_ops: decoding with gates that choose pages.
#include <array>

#include "tests/bench/gpu_bench.h"

namespace seer {
namespace {

constexpr double kRatio = 0.1;  // of the blocks that are kept

// Layers that have pages and gate keys of their own, so that L2 does not keep these from one call to the
// next.
struct GateLayers {
  std::vector<PagedKv> kv;
  std::vector<DecodeGateView> gates;
  std::vector<int32_t> table;

  GateLayers(GpuBench& b, int64_t n_layers, int64_t n_tokens) {
    for (int64_t l = 0; l < n_layers; ++l) {
      GpuBench::Sequence s = b.sequence(n_tokens);
      s.kv.decode_gate_k = b.random({n_tokens / kPage, b.n_kv_heads(), kHead}, 1.0F);
      if (l == 0) table = s.table;
      kv.push_back(s.kv);
      DecodeGateView gate;
      gate.k_pools = {true, true, true};
      gate.linear_q = b.random({b.n_kv_heads(), b.n_heads() / b.n_kv_heads() * kHead, kHead}, 0.05F);
      gate.linear_k = b.random({b.n_kv_heads(), kPools * kHead, kHead}, 0.05F);
      gate.q_norm = gate.k_norm = b.random({kHead}, 1.0F);
      gates.push_back(gate);
    }
  }
  size_t size() const { return kv.size(); }
};

RopeTable rope_rows(GpuBench& b, int64_t n) {
  return {b.tensor(DType::kF32, {n, kHead / 2}), b.tensor(DType::kF32, {n, kHead / 2})};
}

}  // namespace

// One layer of a step that decodes: dense attention; the gate and the choice; attention to the chosen pages;
// and the last two together.
void bench_decode_gate(GpuBench& b) {
  for (const auto& [n, length] : std::vector<std::array<int64_t, 2>>{
           {1, 8192}, {1, 32768}, {1, 131072}, {8, 65536}, {16, 32768}, {32, 8192}}) {
    const GateLayers layers(b, n * length > 262144 ? 4 : 16, n * length);
    std::vector<Segment> decodes;
    for (int64_t i = 0; i < n; ++i)
      decodes.push_back({i, 1, length - 2, layers.table.data() + i * length / kPage});
    const std::vector<DecodeRule> rules(static_cast<size_t>(n), {DecodeRule::Method::kRatio, kRatio});
    const Tensor q = b.random({n, b.n_heads(), kHead}, 1.0F), out = b.tensor(DType::kBF16, q),
                 qkv = b.random({n, (b.n_heads() + 2 * b.n_kv_heads()) * kHead}, 1.0F);
    const BlockMask mask{b.tensor(DType::kI32, {b.n_kv_heads(), n}),
                         b.tensor(DType::kI32, {b.n_kv_heads(), n, length / kPage})};
    const RopeTable rope = rope_rows(b, n);
    b.begin({}, {}, {}, decodes, length, rules);
    b.gpu()->decode_rope_table(rope, std::vector<double>(kHead / 2, 1.0), 1.0, 1);

    const std::string shape = " B=" + std::to_string(n) + " L=" + std::to_string(length);
    const double dense = 2.0 * static_cast<double>(n * length * b.n_kv_heads() * kHead * 2);
    const double keys = static_cast<double>(n * length / kPage * b.n_kv_heads() * kHead * 2);
    const auto measure = [&](const std::string& name, double bytes, const auto& run) {
      b.report(name + shape, b.time_recorded([&] {
        for (size_t l = 0; l < layers.size(); ++l) run(l);
      }) / static_cast<double>(layers.size()),
               bytes, 0.0);
    };
    const auto select = [&](size_t l) {
      b.gpu()->select_decode_blocks(mask, nullptr, qkv, {}, rope, layers.kv[l], layers.gates[l]);
    };
    const auto attend = [&](size_t l) { b.gpu()->decode_attention(out, q, layers.kv[l], &mask); };
    measure("paged_decode", dense,
            [&](size_t l) { b.gpu()->decode_attention(out, q, layers.kv[l], nullptr); });
    measure("decode_gate_select", keys, select);
    measure("paged_decode of a tenth", kRatio * dense, attend);
    measure("decode_gate_select, paged_decode of a tenth", keys + kRatio * dense, [&](size_t l) {
      select(l);
      attend(l);
    });
    b.release();
  }
  // The keys of all pages of a prompt.
  for (const int64_t length : {8192, 32768}) {
    const GateLayers layers(b, 8, length);
    const Segment segment{0, length, 0, layers.table.data()};
    BlockRopes ropes{rope_rows(b, length / kPage), rope_rows(b, kPage)};
    b.begin({}, {}, {segment}, {}, length);
    b.gpu()->rope_table(ropes.first, 0, kPage, std::vector<double>(kHead / 2, 1.0), 1.0);
    b.gpu()->rope_table(ropes.within, 0, 1, std::vector<double>(kHead / 2, 1.0), 1.0);
    const std::vector<Segment> prefills{segment};
    b.report("decode_gate_keys L=" + std::to_string(length), b.time([&](int i) {
      const size_t l = static_cast<size_t>(i) % layers.size();
      b.gpu()->store_decode_gate_keys(layers.kv[l], layers.gates[l], ropes, {length, prefills, {}});
    }),
             static_cast<double>(length * b.n_kv_heads() * kHead * 2), 0.0);
    b.release();
  }
}

}  // namespace seer
