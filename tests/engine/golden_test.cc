// The whole forward pass against outputs of the official gate code (see tests/support/goldens.h for the
// tolerances).
#include "tests/support/goldens.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "seer/engine.h"
#include "seer/ranks.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::ConfigSpelling;
using testing::Golden;

constexpr ConfigSpelling kSpellings[] = {ConfigSpelling::kTransformers4, ConfigSpelling::kTransformers5};

// How the model is run: in chunks, on ranks, over pages of a type.
struct GoldenRun {
  int64_t chunk_size = 0;
  std::shared_ptr<Ranks> ranks;  // absent: one process
  RankSplit split = RankSplit::kTensor;
  std::string kv_cache_dtype = "f32";
};

std::shared_ptr<Engine> load(const Golden& golden, const GoldenRun& run, const std::string& gates) {
  EngineOptions options;
  options.model_dir = golden.model_dir;
  options.gates_dir = gates;
  options.chunk_size = run.chunk_size;
  options.threads = run.ranks ? 1 : 2;
  options.ranks = run.ranks;
  options.rank_split = run.split;
  options.kv_cache_dtype = run.kv_cache_dtype;
  return Engine::load(options);
}

// The results of one evaluation.
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

void check_dense(const Golden& golden, const GoldenRun& run) {
  const auto engine = load(golden, run, golden.gates_dir);
  const Output out = evaluate(*engine, golden, {}, golden.n_logits());
  CHECK(max_difference(out.logits, golden.dense_logits) < testing::kLogitTolerance);
}

void check_rule(const Golden& golden, const testing::GoldenRule& rule, const GoldenRun& run) {
  // The golden's last_dense overrides the gates' config.
  const auto engine = load(golden, run, golden.gates_with(rule.last_dense));
  const Output out = evaluate(*engine, golden, rule.rule, golden.n_logits());
  CHECK(max_difference(out.logits, rule.logits) < testing::kLogitTolerance);
  REQUIRE(out.masks.size() == rule.masks.size());
  for (const auto& [layer, mask] : out.masks) {
    INFO("layer " << layer);
    CHECK(golden.count_mask_errors(rule, layer, mask) == 0);
    CHECK(golden.max_score_difference(rule, layer, out.scores.at(layer)) < testing::kScoreDifference);
  }
}

void check_golden(const std::string& name) {
  for (const ConfigSpelling spelling : kSpellings) {
    const auto golden = Golden::read(name, spelling);
    if (!golden) return;
    DYNAMIC_SECTION("as transformers " << (spelling == ConfigSpelling::kTransformers4 ? 4 : 5)
                                       << " writes config.json") {
      SECTION("dense") { check_dense(*golden, {}); }
      for (const testing::GoldenRule& rule : golden->rules) {
        DYNAMIC_SECTION(rule.name) { check_rule(*golden, rule, {}); }
      }
    }
  }
}

TEST_CASE("golden: the demo model") { check_golden("demo"); }
TEST_CASE("golden: double linear gates, two query pools") { check_golden("double-linear"); }
TEST_CASE("golden: 65 tokens, one whole block and a partial one") { check_golden("edge-65"); }
TEST_CASE("golden: one KV head of 128, llama3 rope") { check_golden("gqa-d128-llama3"); }
TEST_CASE("golden: Qwen2, biases of queries, keys and values") { check_golden("qwen2-bias"); }
TEST_CASE("golden: Qwen3, norms of queries' and keys' heads") { check_golden("qwen3"); }

TEST_CASE("a golden's config.json in version 5's spelling has none of version 4's keys") {
  for (const char* name : {"demo", "gqa-d128-llama3", "qwen2-bias", "qwen3"}) {
    const auto before = Golden::read(name), after = Golden::read(name, ConfigSpelling::kTransformers5);
    if (!before) return;
    const auto config = nlohmann::json::parse(testing::read_file(after->model_dir + "/config.json"));
    for (const char* key : {"rope_theta", "rope_scaling", "torch_dtype"}) CHECK(!config.contains(key));
    CHECK(config.at("dtype") == "bfloat16");
    const auto old = nlohmann::json::parse(testing::read_file(before->model_dir + "/config.json"));
    CHECK(config.at("rope_parameters").at("rope_theta") == old.at("rope_theta"));
    CHECK(config.at("rope_parameters").at("rope_type") ==
          (old.value("rope_scaling", nlohmann::json()).is_null() ? "default" : "llama3"));
    CHECK(config.contains("layer_types") == config.at("model_type").get<std::string>().starts_with("qwen"));
  }
}

// A last chunk of few rows is multiplied by another loop, whose sums differ in the last bits. These bits
// decide how numbers near a tie are rounded to bf16 pages (logprob_margin).
double chunk_margin(const std::string& kv_cache_dtype) { return kv_cache_dtype == "bf16" ? 2e-2 : 1e-4; }

TEST_CASE("any chunk size selects the same blocks and gives the same logits, over pages of each type",
          "[long]") {
  for (const char* name : {"demo", "gqa-d128-llama3", "double-linear"}) {
    const auto golden = Golden::read(name);
    if (!golden) return;
    for (const testing::GoldenRule& rule : golden->rules)
      for (const char* type : {"f32", "bf16"}) {
        const auto run = [&](int64_t chunk) {
          const auto engine =
              load(*golden, {chunk, {}, RankSplit::kTensor, type}, golden->gates_with(rule.last_dense));
          return evaluate(*engine, *golden, rule.rule, golden->n_logits());
        };
        const Output whole = run(16384);
        for (const int64_t chunk : {64, 192, 4096}) {
          INFO(name << " " << rule.name << " chunk " << chunk << " " << type);
          const Output parts = run(chunk);
          CHECK(parts.masks == whole.masks);
          CHECK(max_difference(parts.logits, whole.logits) < chunk_margin(type));
        }
      }
  }
}

// How far bf16 pages may move logits. Rounding to 8 bits moves a stored key or value by at most u = 2^-8 of
// itself. To first order, an output of attention moves by at most u of its size for its values, and by as
// much again for its scores, whose d_head products have independent errors. The two are independent too,
// which gives sqrt(2) u. Each layer adds only a part of the residual stream, so the logits move by no more
// than that, as a root of mean squares; 0.2 to 0.8 of it was seen. A single one of 10^5 logits is within 12
// times the mean, because rows differ; 10 was seen.
constexpr double kRmsError = 1.4142 * 0x1p-8;
constexpr double kLargestError = 12.0 * kRmsError;

void check_rounded(const std::vector<float>& logits, const std::vector<float>& expected) {
  REQUIRE(logits.size() == expected.size());
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < logits.size(); ++i) {
    error += std::pow(static_cast<double>(logits[i]) - expected[i], 2.0);
    size += static_cast<double>(expected[i]) * expected[i];
  }
  CHECK(std::sqrt(error / size) < kRmsError);
  CHECK(std::sqrt(error / size) > 1e-4);  // float32 pages are off by 1e-5 only, so these were rounded
  const double rms = std::sqrt(size / static_cast<double>(logits.size()));
  CHECK(max_difference(logits, expected) < kLargestError * rms);
}

void check_rounded_golden(const std::string& name, GoldenRun run) {
  const auto golden = Golden::read(name);
  if (!golden) return;
  run.kv_cache_dtype = "bf16";
  {
    const auto engine = load(*golden, run, golden->gates_dir);
    check_rounded(evaluate(*engine, *golden, {}, golden->n_logits()).logits, golden->dense_logits);
  }
  for (const testing::GoldenRule& rule : golden->rules) {
    INFO(name << ", " << rule.name);
    const auto engine = load(*golden, run, golden->gates_with(rule.last_dense));
    const Output out = evaluate(*engine, *golden, rule.rule, golden->n_logits());
    check_rounded(out.logits, rule.logits);
    // Near a threshold a probability moves in proportion to itself.
    const bool threshold = rule.rule.method == SparseRule::Method::kThreshold;
    for (const auto& [layer, mask] : out.masks) {
      INFO("layer " << layer);
      // The inputs of the first layer's gates were not rounded.
      const double tolerance = layer == 0  ? testing::kScoreTolerance
                               : threshold ? kLargestError * rule.rule.value
                                           : kLargestError;
      CHECK(golden->count_mask_errors(rule, layer, mask, tolerance) == 0);
      CHECK(golden->max_score_difference(rule, layer, out.scores.at(layer)) <
            (layer == 0 ? testing::kScoreDifference : kLargestError));
    }
  }
}

TEST_CASE("golden: over bf16 pages logits, scores and blocks stay within bf16's rounding") {
  for (const char* name : {"demo", "double-linear", "edge-65", "gqa-d128-llama3", "qwen2-bias", "qwen3"})
    check_rounded_golden(name, {});
}

TEST_CASE("goldens over bf16 pages on two ranks") {
  for (const RankSplit split : {RankSplit::kTensor, RankSplit::kContext})
    for (const char* name : {"double-linear", "qwen3"})
      check_rounded_golden(name, {0, Ranks::start(2, {SEER_BINARY}), split});
}

// The demo model is not among them, because other tests run it on ranks at length.
void check_on_ranks(const std::string& name, RankSplit split, int n_ranks = 2) {
  INFO(name << " on " << n_ranks << " ranks");
  const auto golden = Golden::read(name);
  if (!golden) return;
  const GoldenRun run{0, Ranks::start(n_ranks, {SEER_BINARY}), split, "f32"};
  check_dense(*golden, run);
  for (const testing::GoldenRule& rule : golden->rules) {
    INFO(rule.name);
    check_rule(*golden, rule, run);
  }
}

// qwen2-bias is not among them, because two ranks cannot share its three heads.
TEST_CASE("goldens on two ranks that hold the model together") {
  for (const char* name : {"double-linear", "edge-65", "gqa-d128-llama3", "qwen3"})
    check_on_ranks(name, RankSplit::kTensor);
}

TEST_CASE("goldens on four ranks, which share KV heads") {
  for (const char* name : {"gqa-d128-llama3", "qwen3"}) check_on_ranks(name, RankSplit::kTensor, 4);
}

TEST_CASE("goldens on two ranks that divide the prompt") {
  for (const char* name : {"double-linear", "edge-65", "gqa-d128-llama3", "qwen2-bias", "qwen3"})
    check_on_ranks(name, RankSplit::kContext);
}

}  // namespace
}  // namespace seer
