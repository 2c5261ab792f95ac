// Compares tokens that an engine decodes with gates for decoding with outputs of the official gate code (see
// tests/support/decode_goldens.h).
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/src/select_rule.h"
#include "seer/engine.h"
#include "seer/ranks.h"
#include "tests/support/catch.h"
#include "tests/support/decode_goldens.h"

namespace seer {
namespace {

using testing::DecodeGolden;
using testing::DecodeGoldenRule;

constexpr double kDecodeLogits = 1e-3, kDecodeScores = 1e-5, kDecodeKeys = 1e-4;
constexpr const char* kDecodeGoldens[] = {"r-qwen3", "r-llama", "r-ragged"};

std::shared_ptr<Engine> load_golden(const DecodeGolden& golden, int64_t chunk_size,
                                    const std::shared_ptr<Ranks>& ranks = nullptr,
                                    RankSplit split = RankSplit::kTensor) {
  EngineOptions options;
  options.model_dir = golden.model_dir;
  options.gates_dir = golden.gates_dir;
  options.device = "cpu";
  options.ctx_size = 4096;
  options.chunk_size = chunk_size;
  options.threads = ranks ? 1 : 2;
  options.ranks = ranks;
  options.rank_split = split;
  options.kv_cache_dtype = "f32";
  return Engine::load(options);
}

// The results of one evaluation, in the golden's shapes.
struct Decoded {
  std::vector<float> logits;                        // [1 + n_steps, n_vocab], from the prompt's last token on
  std::map<int64_t, std::vector<float>> scores;     // by layer, [n_steps, n_kv_heads, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;    // likewise
  std::map<int64_t, std::vector<float>> gate_keys;  // by layer, [full blocks, n_kv_heads, d_gate]
  RequestStats stats;
};

Decoded evaluate_decodes(Engine& engine, const DecodeGolden& golden, const DecodeRule& rule, bool with_keys) {
  Decoded out;
  EvaluateRequest request;
  request.tokens = golden.input_ids;
  request.n_prompt = golden.n_prompt;
  request.sparse_decode = sparse_decode_rule(rule);
  request.n_last_logits = golden.n_steps + 1;
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
    CHECK(position == golden.n_prompt - 1 + static_cast<int64_t>(out.logits.size()) / n_vocab);
    out.logits.insert(out.logits.end(), logits, logits + n_rows * n_vocab);
    return true;
  };
  request.on_decode_gate = [&](const DecodeGateRows& rows) {
    const int64_t step = rows.position - golden.n_prompt;
    REQUIRE(rows.n_kv_heads == golden.n_kv_heads);
    CHECK(rows.n_blocks == rows.position / golden.block + 1);
    std::vector<float>& scores = out.scores[rows.layer];
    std::vector<uint8_t>& masks = out.masks[rows.layer];
    const auto size = static_cast<size_t>(golden.n_steps * golden.n_kv_heads * golden.n_blocks);
    scores.resize(size);
    masks.resize(size);
    for (int64_t h = 0; h < rows.n_kv_heads; ++h) {
      const int64_t to = (step * golden.n_kv_heads + h) * golden.n_blocks;
      std::copy_n(rows.scores + h * rows.n_blocks, rows.n_blocks, scores.begin() + to);
      std::copy_n(rows.mask + h * rows.n_blocks, rows.n_blocks, masks.begin() + to);
    }
  };
  if (with_keys)
    request.on_decode_gate_keys = [&](const DecodeGateKeys& keys) {
      CHECK(keys.n_blocks == (golden.n_prompt + golden.n_steps) / golden.block);
      out.gate_keys[keys.layer].assign(keys.keys, keys.keys + keys.n_blocks * keys.n_kv_heads * keys.d_gate);
    };
  out.stats = engine.new_session()->evaluate(request);
  return out;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - b[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

// The golden's logits of the prompt's last position, which is dense, and of the steps under the rule.
std::vector<float> expected_logits(const DecodeGolden& golden, const DecodeGoldenRule& rule) {
  std::vector<float> logits(golden.dense_logits.begin(), golden.dense_logits.begin() + golden.n_vocab);
  logits.insert(logits.end(), rule.logits.begin(), rule.logits.end());
  return logits;
}

void check_decode_rule(Engine& engine, const DecodeGolden& golden, const DecodeGoldenRule& rule) {
  const bool one_rank = engine.info().n_ranks == 1;
  const Decoded out = evaluate_decodes(engine, golden, rule.rule, one_rank);
  CHECK(largest_difference(out.logits, expected_logits(golden, rule)) < kDecodeLogits);
  REQUIRE(out.masks.size() == static_cast<size_t>(golden.n_layers));
  const auto step_size = static_cast<int64_t>(golden.n_kv_heads * golden.n_blocks);
  for (const auto& [layer, mask] : out.masks) {
    INFO("layer " << layer);
    CHECK(largest_difference(out.scores.at(layer), rule.scores.at(layer)) < kDecodeScores);
    int64_t mask_errors = 0;
    for (int64_t s = 0; s < golden.n_steps; ++s)
      mask_errors += golden.count_mask_errors(
          rule, layer, s, {mask.begin() + s * step_size, mask.begin() + (s + 1) * step_size}, kDecodeScores);
    CHECK(mask_errors == 0);
    if (one_rank) CHECK(largest_difference(out.gate_keys.at(layer), rule.gate_keys.at(layer)) < kDecodeKeys);
  }
  CHECK(out.stats.decode_density == Approx(rule.density).epsilon(1e-9));
  CHECK(out.stats.density == 1.0);
  CHECK(out.stats.n_prompt == golden.n_prompt);
}

void check_dense_decodes(Engine& engine, const DecodeGolden& golden) {
  const Decoded out = evaluate_decodes(engine, golden, {}, false);
  CHECK(largest_difference(out.logits, golden.dense_logits) < kDecodeLogits);
  CHECK(out.masks.empty());
  CHECK(out.stats.decode_density == 1.0);
}

TEST_CASE("decode goldens: evaluations give the official code's, whatever the prompt's chunks") {
  for (const char* name : kDecodeGoldens) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    for (const int64_t chunk : {64, 192, 4096}) {
      const auto engine = load_golden(*golden, chunk);
      CHECK(engine->info().page_tokens == golden->block);
      for (const DecodeGoldenRule& rule : golden->rules) {
        INFO(name << ", " << rule.name << ", chunks of " << chunk);
        check_decode_rule(*engine, *golden, rule);
      }
      check_dense_decodes(*engine, *golden);
    }
  }
}

TEST_CASE("decode goldens: two ranks that hold the model together choose and decode as one does") {
  for (const char* name : kDecodeGoldens) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    const auto engine = load_golden(*golden, 0, Ranks::start(2, {SEER_BINARY}));
    for (const DecodeGoldenRule& rule : golden->rules) {
      INFO(name << ", " << rule.name);
      check_decode_rule(*engine, *golden, rule);
    }
    check_dense_decodes(*engine, *golden);
  }
}

TEST_CASE("decode goldens: ranks that divide the prompt choose over all ranks' blocks as one does") {
  for (const int n_ranks : {2, 3})
    for (const char* name : kDecodeGoldens) {
      const auto golden = DecodeGolden::read(name);
      if (!golden) return;
      const auto engine =
          load_golden(*golden, 192, Ranks::start(n_ranks, {SEER_BINARY}), RankSplit::kContext);
      for (const DecodeGoldenRule& rule : golden->rules) {
        INFO(name << ", " << rule.name << ", " << n_ranks << " ranks");
        check_decode_rule(*engine, *golden, rule);
      }
      check_dense_decodes(*engine, *golden);
    }
}

}  // namespace
}  // namespace seer
