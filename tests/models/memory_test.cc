// The memory of the KV cache and of a step's activations, and requests that no machine can serve.
#include "models/kv_cache.h"
#include "models/workspace.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::refusal;

ModelConfig small_config() {
  ModelConfig m;
  m.n_layers = 3;
  m.n_heads = 4;
  m.n_kv_heads = 2;
  m.d_head = 8;
  m.d_model = 24;
  m.d_ff = 40;
  m.n_vocab = 53;
  return m;
}

GateConfig gate(bool double_linear) {
  GateConfig g;
  g.d_gate = 12;
  g.double_linear = double_linear;
  return g;
}

StepLimits limits(int64_t n_tokens) {
  StepLimits l;
  l.n_tokens = n_tokens;
  l.n_logits = 5;
  l.n_blocks = 9;
  l.page_tokens = 64;
  return l;
}

TEST_CASE("kv cache: pages of keys and values, without gates") {
  const auto backend = make_cpu_backend(1);
  const KvCache cache(backend.get(), small_config(), {}, 64, 7, DType::kF32);
  CHECK(cache.n_pages() == 7);
  CHECK(cache.page_tokens() == 64);
  CHECK(cache.nbytes() == 3 * 2 * (7 * 2 * 64 * 8) * 4);
  for (int64_t l = 0; l < 3; ++l) {
    const PagedKv kv = cache.layer(l);
    CHECK(shape_string(kv.k) == "[7, 2, 64, 8]");
    CHECK(shape_string(kv.v) == "[7, 2, 64, 8]");
    CHECK_FALSE(kv.gate_k);
    CHECK(kv.k.data != kv.v.data);
  }
  CHECK(cache.layer(0).k.data != cache.layer(1).k.data);
}

TEST_CASE("kv cache: gate keys per query head with one weight, per KV head with two") {
  const auto backend = make_cpu_backend(1);
  const GateConfig one = gate(false), two = gate(true);
  const KvCache single(backend.get(), small_config(), {&one}, 16, 5, DType::kF32),
      pair(backend.get(), small_config(), {&two}, 16, 5, DType::kF32);
  CHECK(shape_string(single.layer(2).gate_k) == "[5, 4, 12]");
  CHECK(shape_string(pair.layer(2).gate_k) == "[5, 2, 12]");
  CHECK(single.nbytes() == 3 * (2 * (5 * 2 * 16 * 8) + 5 * 4 * 12) * 4);
  CHECK(pair.nbytes() == 3 * (2 * (5 * 2 * 16 * 8) + 5 * 2 * 12) * 4);
}

TEST_CASE("kv cache: bf16 halves keys and values, and gate keys stay in the type of activations") {
  const auto backend = make_cpu_backend(1);
  const GateConfig config = gate(false);
  const KvCache cache(backend.get(), small_config(), {&config}, 16, 5, DType::kBF16);
  CHECK(cache.dtype() == DType::kBF16);
  for (int64_t l = 0; l < 3; ++l) {
    CHECK(cache.layer(l).k.dtype == DType::kBF16);
    CHECK(cache.layer(l).v.dtype == DType::kBF16);
    CHECK(cache.layer(l).gate_k.dtype == DType::kF32);
  }
  const int64_t of_a_page = 3 * (2 * (2 * 16 * 8) * 2 + 4 * 12 * 4);
  CHECK(cache.nbytes() == 5 * of_a_page);
  CHECK(KvCache::page_bytes(*backend, small_config(), {&config}, 16, DType::kBF16) == of_a_page);
}

TEST_CASE("kv cache: the last element of the last page can be written") {
  const auto backend = make_cpu_backend(1);
  const KvCache cache(backend.get(), small_config(), {}, 64, 3, DType::kF32);
  for (int64_t l = 0; l < 3; ++l)
    for (const Tensor& t : {cache.layer(l).k, cache.layer(l).v}) {
      CHECK(t.as<float>()[t.numel() - 1] == 0.0F);  // fresh memory
      t.as<float>()[t.numel() - 1] = 1.0F;
    }
  CHECK(cache.layer(2).v.as<float>()[3 * 2 * 64 * 8 - 1] == 1.0F);
}

TEST_CASE("kv cache: a size that overflows, or that no address space holds, is out of memory") {
  const auto backend = make_cpu_backend(1);
  // 2 * 64 * 8 * 4 bytes are 2^12. 2^51 and more pages overflow; 2^45 do not, but do not fit any memory.
  for (const int64_t n_pages : {INT64_MAX, int64_t{1} << 52, int64_t{1} << 51}) {
    INFO(n_pages);
    const std::string message = refusal(ErrorKind::kMemory, [&] {
      const KvCache cache(backend.get(), small_config(), {}, 64, n_pages, DType::kF32);
    });
    CHECK_THAT(message,
               ContainsSubstring("a KV cache of " + std::to_string(n_pages) + " pages of 64 tokens"));
    CHECK_THAT(message, ContainsSubstring("--ctx-size"));
  }
  CHECK_THAT(
      refusal(
          ErrorKind::kMemory,
          [&] { const KvCache cache(backend.get(), small_config(), {}, 64, int64_t{1} << 45, DType::kF32); }),
      ContainsSubstring("the KV cache"));
}

TEST_CASE("workspace: a view of every activation, sized for the limits") {
  const auto backend = make_cpu_backend(1);
  const Workspace w(backend.get(), nullptr, Shard(small_config()), {}, limits(100));
  CHECK(shape_string(w.x) == "[100, 24]");
  CHECK(shape_string(w.h) == "[100, 24]");
  CHECK(shape_string(w.qkv) == "[100, 64]");
  CHECK(shape_string(w.q) == "[100, 4, 8]");
  CHECK(shape_string(w.attn) == "[100, 4, 8]");
  CHECK(shape_string(w.gate_up) == "[100, 80]");
  CHECK(shape_string(w.act) == "[100, 40]");
  CHECK(shape_string(w.needed) == "[100, 32]");
  CHECK(shape_string(w.logits) == "[5, 53]");
  CHECK(shape_string(w.rope.cos) == "[100, 4]");
  CHECK(shape_string(w.rope.sin) == "[100, 4]");
  CHECK_FALSE(w.gate_q);
  CHECK_FALSE(w.kept_blocks);
}

TEST_CASE("workspace: with gates, a block row for every partial block of every sequence") {
  const auto backend = make_cpu_backend(1);
  const GateConfig g = gate(true);
  StepLimits l = limits(129);
  l.n_sequences = 3;
  const Workspace w(backend.get(), nullptr, Shard(small_config()), {&g}, l);
  // 129 tokens: a segment of 1 and two of 64 are three blocks, three segments of 43 too; 2 + 3 rows hold
  // both.
  CHECK(shape_string(w.gate_q) == "[5, 4, 12]");
  CHECK(shape_string(w.block_rope.cos) == "[5, 4]");
  CHECK(shape_string(w.kept_counts) == "[3, 20]");
  CHECK(shape_string(w.kept_blocks) == "[180]");
}

TEST_CASE("workspace: a step whose size overflows is out of memory") {
  const auto backend = make_cpu_backend(1);
  const GateConfig g = gate(false);
  for (const int64_t n_tokens : {INT64_MAX, INT64_MAX / 24, int64_t{1} << 58}) {
    INFO(n_tokens);
    const std::string message = refusal(ErrorKind::kMemory, [&] {
      const Workspace w(backend.get(), nullptr, Shard(small_config()), {&g}, limits(n_tokens));
    });
    CHECK_THAT(message, ContainsSubstring("a step of " + std::to_string(n_tokens) + " tokens"));
    CHECK_THAT(message, ContainsSubstring("--chunk-size"));
  }
  CHECK_THAT(refusal(ErrorKind::kMemory,
                     [&] {
                       const Workspace w(backend.get(), nullptr, Shard(small_config()), {},
                                         limits(int64_t{1} << 44));
                     }),
             ContainsSubstring("the activations of a step"));
  StepLimits many_blocks = limits(64);
  many_blocks.n_blocks = INT64_MAX / 8;
  CHECK_THAT(
      refusal(ErrorKind::kMemory,
              [&] { const Workspace w(backend.get(), nullptr, Shard(small_config()), {&g}, many_blocks); }),
      ContainsSubstring("activations"));
}

}  // namespace
}  // namespace seer
