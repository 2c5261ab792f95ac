// bench_gpu_ops: what a layer does with queries, keys and values.
#include <array>

#include "tests/bench/gpu_bench.h"

namespace seer {

// A layer's append, with and without norms of heads and the gate's pools. The bytes are those of q, k and v,
// read and written.
void bench_append(GpuBench& b) {
  const auto measure = [&](const std::string& name, int64_t n_tokens, const std::vector<Segment>& prefills,
                           const std::vector<Segment>& decodes, const GpuBench::Sequence& s) {
    const Tensor qkv = b.random({n_tokens, (b.n_heads() + 2 * b.n_kv_heads()) * kHead}, 1.0F),
                 q = b.tensor(DType::kBF16, {n_tokens, b.n_heads(), kHead});
    const RopeTable rope{b.tensor(DType::kF32, {n_tokens, kHead / 2}),
                         b.tensor(DType::kF32, {n_tokens, kHead / 2})};
    const HeadNorms norms{b.random({kHead}, 1.0F), b.random({kHead}, 1.0F), 1e-6};
    PooledBlocks pooled{{false, false, true}, {true, true, true}, {}, {}, {}};
    pooled.q = b.tensor(DType::kBF16, {n_tokens / kPage + 1, b.n_heads(), kHead});
    pooled.k = b.tensor(DType::kBF16, {n_tokens / kPage + 1, b.n_kv_heads(), 3 * kHead});
    b.begin({}, {}, prefills, decodes, static_cast<int64_t>(s.table.size()) * kPage);
    b.gpu()->rope_table(rope, 0, 1, std::vector<double>(kHead / 2, 1.0), 1.0);
    for (const bool with_pools : {false, true})
      for (const bool with_norms : {false, true}) {
        if (with_pools && prefills.empty()) continue;
        b.report(name + (with_pools ? ", pools" : "") + (with_norms ? ", norms" : ""), b.time([&](int) {
          b.gpu()->append_kv(q, s.kv, qkv, with_norms ? norms : HeadNorms{}, rope,
                             {n_tokens, prefills, decodes}, with_pools ? &pooled : nullptr);
        }),
                 2.0 * static_cast<double>(qkv.nbytes()), 0.0);
      }
    b.release();
  };
  for (const int64_t length : {8192, 32768}) {
    const GpuBench::Sequence s = b.sequence(length);
    measure("prefill_append L=" + std::to_string(length), length, {{0, length, 0, s.table.data()}}, {}, s);
  }
  for (const int64_t n : {1, 64}) {
    const GpuBench::Sequence s = b.sequence(n * kPage);
    std::vector<Segment> decodes;
    for (int64_t i = 0; i < n; ++i) decodes.push_back({i, 1, kPage - 1, s.table.data() + i});
    measure("decode_append B=" + std::to_string(n), n, {}, decodes, s);
  }
}

// Decode attention by itself, and after the append of the new tokens, as in a model.
void bench_decode(GpuBench& b) {
  for (const auto& [n_sequences, length] : std::vector<std::array<int64_t, 2>>{{1, 128},
                                                                               {1, 640},
                                                                               {1, 1024},
                                                                               {1, 2048},
                                                                               {1, 4096},
                                                                               {1, 8192},
                                                                               {1, 32768},
                                                                               {1, 131072},
                                                                               {4, 1024},
                                                                               {4, 8192},
                                                                               {32, 128},
                                                                               {32, 1024},
                                                                               {64, 8192}}) {
    const GpuBench::Sequence s = b.sequence(n_sequences * length);
    std::vector<Segment> decodes;
    for (int64_t i = 0; i < n_sequences; ++i)
      decodes.push_back({i, 1, length - 1, s.table.data() + i * length / kPage});
    const Tensor q = b.random({n_sequences, b.n_heads(), kHead}, 1.0F), out = b.tensor(DType::kBF16, q);
    const Tensor qkv = b.random({n_sequences, (b.n_heads() + 2 * b.n_kv_heads()) * kHead}, 1.0F);
    const RopeTable rope{b.tensor(DType::kF32, {n_sequences, kHead / 2}),
                         b.tensor(DType::kF32, {n_sequences, kHead / 2})};
    b.begin({}, {}, {}, decodes, length);
    b.gpu()->decode_rope_table(rope, std::vector<double>(kHead / 2, 1.0), 1.0, 1);
    const std::string shape = " B=" + std::to_string(n_sequences) + " L=" + std::to_string(length);
    const double bytes = 2.0 * static_cast<double>(n_sequences * length * b.n_kv_heads() * kHead * 2);
    b.report("paged_decode" + shape,
             b.time_recorded([&] { b.gpu()->decode_attention(out, q, s.kv, nullptr); }), bytes, 0.0);
    const Step step{n_sequences, {}, decodes};
    b.report("append_kv, paged_decode" + shape, b.time_recorded([&] {
      b.gpu()->append_kv(q, s.kv, qkv, {}, rope, step, nullptr);
      b.gpu()->decode_attention(out, q, s.kv, nullptr);
    }),
             bytes, 0.0);
    b.release();
  }
}

void bench_prefill(GpuBench& b) {
  for (const int64_t length : {8192, 32768, 131072}) {
    const GpuBench::Sequence s = b.sequence(length);
    const Segment segment{0, length, 0, s.table.data()};
    const Tensor q = b.random({length, b.n_heads(), kHead}, 1.0F), out = b.tensor(DType::kBF16, q);
    b.begin({}, {}, {segment}, {}, length);
    const int64_t n = length / kPage;
    const double pair_flops = 4.0 * static_cast<double>(kPage * kPage * kHead);
    const int64_t causal_blocks = n * (n + 1) / 2 * b.n_heads();
    const auto causal = static_cast<double>(causal_blocks);
    const std::string name = "L=" + std::to_string(length);
    b.report("dense_prefill " + name,
             b.time([&](int) { b.gpu()->prefill_attention(out, q, s.kv, segment, nullptr, 0); }), 0.0,
             causal * pair_flops);
    for (const double density : {0.5, 0.1, 0.05})
      for (const bool shared : {true, false}) {
        if (length > 32768 && density != 0.1) continue;  // making masks of this size takes the host seconds
        const std::pair<BlockMask, int64_t> masked = b.random_mask(n, density, shared);
        const BlockMask& mask = masked.first;
        b.report("sparse_prefill " + name + " d=" + std::to_string(density).substr(0, 4) +
                     (shared ? " one mask" : " independent"),
                 b.time([&](int) { b.gpu()->prefill_attention(out, q, s.kv, segment, &mask, 0); }), 0.0,
                 static_cast<double>(masked.second) * pair_flops);
      }
    b.release();
  }
}

}  // namespace seer
