// The whole forward pass against outputs of the official gate code (see tests/support/goldens.h for the
// tolerances).
#include "tests/support/goldens.h"

#include <cmath>
#include <map>

#include "seer/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::Golden;

std::shared_ptr<Engine> load(const Golden& golden, int64_t chunk_size, const std::string& gates) {
  EngineOptions options;
  options.model_dir = golden.model_dir;
  options.gates_dir = gates;
  options.chunk_size = chunk_size;
  options.threads = 2;
  return Engine::load(options);
}

// What one evaluation gave.
struct Output {
  std::vector<float> logits;
  std::map<int64_t, std::vector<float>> scores;  // by layer, [n_heads, n_blocks, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;
};

Output evaluate(Engine& engine, const Golden& golden, const SparseRule& rule, int64_t n_logits) {
  Output out;
  EvaluateRequest request;
  request.tokens = golden.input_ids;
  request.sparse = rule;
  request.n_last_logits = n_logits;
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    out.logits.insert(out.logits.end(), logits, logits + n_rows * n_vocab);
    return true;
  };
  request.on_gate = [&](const GateRows& rows) {
    const auto size = static_cast<size_t>(rows.n_heads * rows.n_blocks * rows.n_blocks);
    out.scores[rows.layer].resize(size);
    out.masks[rows.layer].resize(size);
    for (int64_t h = 0; h < rows.n_heads; ++h) {
      const int64_t from = h * rows.n_rows * rows.n_blocks, n = rows.n_rows * rows.n_blocks;
      const int64_t to = (h * rows.n_blocks + rows.first_row) * rows.n_blocks;
      std::copy(rows.scores + from, rows.scores + from + n, out.scores[rows.layer].begin() + to);
      std::copy(rows.mask + from, rows.mask + from + n, out.masks[rows.layer].begin() + to);
    }
  };
  engine.new_session()->evaluate(request);
  return out;
}

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

void check_golden(const std::string& name) {
  const auto golden = Golden::read(name);
  if (!golden) return;
  const auto engine = load(*golden, 0, golden->gates_dir);
  SECTION("dense") {
    const Output out = evaluate(*engine, *golden, {}, golden->n_logits());
    CHECK(max_difference(out.logits, golden->dense_logits) < testing::kLogitTolerance);
  }
  for (const testing::GoldenRule& rule : golden->rules) {
    DYNAMIC_SECTION(rule.name) {
      // The golden's last_dense overrides the gates' config.
      const auto with_rule = load(*golden, 0, golden->gates_with(rule.last_dense));
      const Output out = evaluate(*with_rule, *golden, rule.rule, golden->n_logits());
      CHECK(max_difference(out.logits, rule.logits) < testing::kLogitTolerance);
      REQUIRE(out.masks.size() == rule.masks.size());
      for (const auto& [layer, mask] : out.masks) {
        INFO("layer " << layer);
        CHECK(golden->count_mask_errors(rule, layer, mask) == 0);
        CHECK(golden->max_score_difference(rule, layer, out.scores.at(layer)) < testing::kScoreDifference);
      }
    }
  }
}

TEST_CASE("golden: the demo model") { check_golden("demo"); }
TEST_CASE("golden: double linear gates, two query pools") { check_golden("double-linear"); }
TEST_CASE("golden: 65 tokens, one whole block and a partial one") { check_golden("edge-65"); }
TEST_CASE("golden: one KV head of 128, llama3 rope") { check_golden("gqa-d128-llama3"); }

TEST_CASE("any chunk size selects the same blocks and gives the same logits") {
  for (const char* name : {"demo", "gqa-d128-llama3", "double-linear"}) {
    const auto golden = Golden::read(name);
    if (!golden) return;
    for (const testing::GoldenRule& rule : golden->rules) {
      const std::string gates = golden->gates_with(rule.last_dense);
      const auto one_shot = load(*golden, 16384, gates);
      const Output whole = evaluate(*one_shot, *golden, rule.rule, golden->n_logits());
      for (const int64_t chunk : {64, 192, 4096}) {
        INFO(name << " " << rule.name << " chunk " << chunk);
        const auto chunked = load(*golden, chunk, gates);
        const Output parts = evaluate(*chunked, *golden, rule.rule, golden->n_logits());
        CHECK(parts.masks == whole.masks);
        CHECK(max_difference(parts.logits, whole.logits) < 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace seer
