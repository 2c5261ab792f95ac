// seer inspect --dump compared with the goldens of the official gate code. The test reads the file with code
// of its own.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/goldens.h"
#include "tests/support/safetensors_file.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::Golden;
using testing::SafetensorsFile;

std::string join(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += std::to_string(id) + "\n";
  return text;
}

SafetensorsFile dump(const Golden& golden, const std::string& gates, const std::string& rule,
                     const std::string& chunk_size) {
  const testing::TempDir dir;
  const std::string path = (dir.path() / "dump.safetensors").string();
  testing::RunOptions options;
  options.input = join(golden.input_ids);
  const testing::Outcome run = testing::run_seer(
      {"inspect", "-m", golden.model_dir, "-g", gates, "--sparse", rule, "--chunk-size", chunk_size,
       "--tokens-file", "-", "--logits-last", std::to_string(golden.n_logits()), "--dump", path},
      options);
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(run.out.empty());
  return SafetensorsFile(path);
}

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

void check_rule(const Golden& golden, const testing::GoldenRule& rule) {
  const std::string gates = golden.gates_with(rule.last_dense);
  const SafetensorsFile whole = dump(golden, gates, rule.rule.to_string(), "0");
  CHECK(whole.get<int32_t>("input_ids") == golden.input_ids);
  CHECK(max_difference(whole.get<float>("logits"), rule.logits) < testing::kLogitTolerance);
  for (const auto& [layer, expected] : rule.masks) {
    INFO("layer " << layer);
    CHECK(golden.count_mask_errors(rule, layer, whole.get<uint8_t>("mask." + std::to_string(layer))) == 0);
    CHECK(golden.max_score_difference(rule, layer, whole.get<float>("score." + std::to_string(layer))) <
          testing::kScoreDifference);
  }
  for (const char* chunk : {"64", "192", "4096"}) {
    INFO("chunk " << chunk);
    const SafetensorsFile parts = dump(golden, gates, rule.rule.to_string(), chunk);
    CHECK(max_difference(parts.get<float>("logits"), whole.get<float>("logits")) < 1e-4);
    for (const auto& [layer, expected] : rule.masks) {
      const std::string name = "mask." + std::to_string(layer);
      CHECK(parts.get<uint8_t>(name) == whole.get<uint8_t>(name));
    }
  }
}

TEST_CASE("dumps equal every golden, whatever the chunk size", "[long]") {
  for (const char* name : {"double-linear", "edge-65", "gqa-d128-llama3", "qwen2-bias", "qwen3", "demo"}) {
    const auto golden = Golden::read(name);
    if (!golden) return;
    const SafetensorsFile dense = dump(*golden, golden->gates_dir, "dense", "0");
    CHECK(max_difference(dense.get<float>("logits"), golden->dense_logits) < testing::kLogitTolerance);
    CHECK(!dense.has("mask.0"));
    for (const testing::GoldenRule& rule : golden->rules) {
      INFO(name << " " << rule.name);
      check_rule(*golden, rule);
    }
  }
}

TEST_CASE("a dump of a text holds its ids, the logits asked for, and one square of scores a head and layer") {
  const testing::TempDir dir;
  const std::string path = (dir.path() / "dump.safetensors").string();
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The house by the sea was old. ";
  const testing::Outcome run =
      testing::run_seer({"inspect", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "-p",
                         text, "--logits-last", "0", "--dump", path});
  REQUIRE(run.code == 0);
  const SafetensorsFile file(path);
  const auto n_tokens = static_cast<int64_t>(file.get<int32_t>("input_ids").size());
  const int64_t n_blocks = (n_tokens + 63) / 64;
  CHECK(n_tokens > 200);
  CHECK(file.shape("logits") == std::vector<int64_t>{n_tokens, 4096});
  CHECK(file.shape("score.5") == std::vector<int64_t>{4, n_blocks, n_blocks});
  CHECK(file.shape("mask.5") == std::vector<int64_t>{4, n_blocks, n_blocks});
  CHECK(!file.has("mask.6"));
  CHECK(file.header()["__metadata__"]["rule"] == "threshold=0.002");
}

}  // namespace
}  // namespace seer
