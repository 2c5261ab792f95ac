// The part of a model that a rank holds, and models that cannot be divided.
#include "models/shard.h"

#include "models/weights.h"
#include "tests/models/refusal.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::refusal;
using testing::TinyModel;
using testing::TinyShape;

ModelConfig config(int64_t n_heads, int64_t n_kv_heads, int64_t d_ff = 48, int64_t n_vocab = 320) {
  ModelConfig c;
  c.n_layers = 1;
  c.n_heads = n_heads;
  c.n_kv_heads = n_kv_heads;
  c.d_head = 8;
  c.d_model = 64;
  c.d_ff = d_ff;
  c.n_vocab = n_vocab;
  return c;
}

TEST_CASE("heads, KV heads and MLP are split evenly, and the vocabulary whole") {
  const ModelConfig c = config(8, 4, 48, 323);
  int64_t next_id = 0;
  for (int rank = 0; rank < 4; ++rank) {
    const Shard s(c, rank, 4);
    CHECK(s.local.n_heads == 2);
    CHECK(s.first_head == 2 * rank);
    CHECK(s.local.n_kv_heads == 1);
    CHECK(s.first_kv_head == rank);
    CHECK(s.local.d_ff == 12);
    CHECK(s.first_ff == 12 * rank);
    CHECK(s.first_id() == next_id);
    next_id += s.n_ids();
    if (rank < 3) CHECK(s.n_ids() % 8 == 0);
  }
  CHECK(next_id == 323);
}

TEST_CASE("ranks beyond the number of KV heads share them") {
  for (int rank = 0; rank < 8; ++rank) {
    const Shard s(config(8, 2), rank, 8);
    CHECK(s.local.n_heads == 1);
    CHECK(s.local.n_kv_heads == 1);
    CHECK(s.first_kv_head == rank / 4);
  }
}

TEST_CASE("a vocabulary smaller than eight ids a rank is split all the same") {
  int64_t n_ids = 0;
  for (int rank = 0; rank < 4; ++rank) {
    const Shard s(config(4, 4, 48, 5), rank, 4);
    CHECK(s.n_ids() >= 1);
    n_ids += s.n_ids();
  }
  CHECK(n_ids == 5);
}

TEST_CASE("one rank holds the whole model") {
  const Shard s(config(6, 3, 7, 53));
  CHECK(s.local.n_heads == 6);
  CHECK(s.local.n_kv_heads == 3);
  CHECK(s.local.d_ff == 7);
  CHECK(s.n_ids() == 53);
}

TEST_CASE("heads that do not divide among the ranks are refused with the counts that do") {
  const std::string heads = refusal(ErrorKind::kUnsupported, [] { Shard(config(8, 4), 0, 3); });
  CHECK_THAT(heads, ContainsSubstring("8 attention heads with 4 KV heads cannot be split among 3 ranks"));
  CHECK_THAT(heads, ContainsSubstring("1, 2, 4, 8."));
  // Two ranks would share KV head 1 of 0, 1, 2.
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [] { Shard(config(6, 3), 0, 2); }),
             ContainsSubstring("6 attention heads with 3 KV heads cannot be split among 2 ranks"));
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [] { Shard(config(8, 8), 0, 16); }),
             ContainsSubstring("8 attention heads"));
}

TEST_CASE("an MLP or a vocabulary that does not divide among the ranks is refused") {
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [] { Shard(config(8, 8, 172), 0, 8); }),
             ContainsSubstring("an MLP of 172 (intermediate_size) cannot be split among 8 ranks"));
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [] { Shard(config(8, 8, 48, 3), 0, 4); }),
             ContainsSubstring("a vocabulary of 3 cannot be split among 4 ranks"));
}

// Returns the values of a part's tensor as floats.
std::vector<float> values(const Tensor& t) { return {t.as<float>(), t.as<float>() + t.numel()}; }

TEST_CASE("ranks load their rows, columns and biases, and together the whole") {
  const TinyModel model;
  const TinyShape& shape = model.shape();
  const ModelConfig c = ModelConfig::load(model.path());
  const auto backend = make_cpu_backend(1);
  const int64_t d_q = shape.n_heads * shape.d_head;
  std::vector<float> q, gate, embedding;
  for (int rank = 0; rank < 2; ++rank) {
    const Shard s(c, rank, 2);
    const ModelWeights w = ModelWeights::load(model.path(), c, s, backend.get(), {});
    const LayerWeights& layer = w.layers[1];
    const auto append = [](std::vector<float>* all, const Tensor& t) {
      const std::vector<float> part = values(t);
      all->insert(all->end(), part.begin(), part.end());
    };
    append(&q, layer.qkv.parts[0].weight);
    append(&gate, layer.gate_up.parts[0].weight);
    append(&embedding, w.embedding);
    // Columns are divided; the bias is only on rank 0.
    const std::vector<float>& whole = model.values("model.layers.1.self_attn.o_proj.weight");
    const std::vector<float> part = values(layer.output.parts[0].weight);
    REQUIRE(static_cast<int64_t>(part.size()) == shape.d_model * d_q / 2);
    for (int64_t r = 0; r < shape.d_model; ++r)
      for (int64_t i = 0; i < d_q / 2; ++i)
        REQUIRE(part[static_cast<size_t>(r * d_q / 2 + i)] ==
                whole[static_cast<size_t>(r * d_q + rank * d_q / 2 + i)]);
    CHECK(static_cast<bool>(layer.output.parts[0].bias) == (rank == 0));
    CHECK(static_cast<bool>(layer.down.parts[0].bias) == (rank == 0));
    CHECK(layer.qkv.parts[1].bias.numel() == shape.n_kv_heads * shape.d_head / 2);
    CHECK(w.n_params == ModelWeights::load(model.path(), c, backend.get(), {}).n_params);
  }
  CHECK(q == model.values("model.layers.1.self_attn.q_proj.weight"));
  CHECK(gate == model.values("model.layers.1.mlp.gate_proj.weight"));
  CHECK(embedding == model.values("model.embed_tokens.weight"));
}

TEST_CASE("the progress of a rank's load is of what it holds, and ends at all of it") {
  const TinyModel model;
  const ModelConfig c = ModelConfig::load(model.path());
  const auto backend = make_cpu_backend(1);
  int64_t last = 0, all = 0;
  const ModelWeights w =
      ModelWeights::load(model.path(), c, Shard(c, 1, 2), backend.get(), [&](int64_t d, int64_t n) {
        CHECK(d >= last);
        last = d;
        all = n;
        return true;
      });
  CHECK(last == all);
  CHECK(all > w.n_bytes / 2);
  CHECK(all < w.n_bytes * 6 / 10);
}

TEST_CASE("random weights are the same model for any number of ranks") {
  const ModelConfig c = config(8, 4);
  const auto backend = make_cpu_backend(1);
  const auto bits = [](const Tensor& t) {
    const auto* v = static_cast<const uint16_t*>(t.data);
    return std::vector<uint16_t>(v, v + t.numel());
  };
  const ModelWeights whole = ModelWeights::random(c, Shard(c), backend.get(), 5);
  const Shard s(c, 1, 2);
  const ModelWeights part = ModelWeights::random(c, s, backend.get(), 5);
  const LayerWeights &w = whole.layers[0], &p = part.layers[0];
  const Tensor qkv = w.qkv.parts[0].weight;  // q, k and v one after another: 64, 32 and 32 rows
  std::vector<uint16_t> expected;
  for (const auto& [first, n] : {std::pair(32, 32), std::pair(80, 16), std::pair(112, 16)}) {
    const std::vector<uint16_t> rows = bits(qkv.rows(first, n));
    expected.insert(expected.end(), rows.begin(), rows.end());
  }
  CHECK(bits(p.qkv.parts[0].weight) == expected);
  const std::vector<uint16_t> down = bits(w.down.parts[0].weight);
  std::vector<uint16_t> columns;
  for (int64_t r = 0; r < c.d_model; ++r)
    columns.insert(columns.end(), down.begin() + r * c.d_ff + s.first_ff, down.begin() + (r + 1) * c.d_ff);
  CHECK(bits(p.down.parts[0].weight) == columns);
  CHECK(bits(part.embedding) == bits(whole.embedding.rows(s.first_id(), s.n_ids())));
  CHECK(bits(p.mlp_norm) == bits(w.mlp_norm));
  CHECK(part.n_params == whole.n_params);
  CHECK(part.n_bytes == whole.n_bytes);
}

}  // namespace
}  // namespace seer
