// The demo model's gates with a factor for each head.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/engine/demo.h"
#include "tests/support/test_data.h"

namespace seer::testing {

constexpr int64_t kDemoLayers = 6, kDemoHeads = 4;

inline std::vector<float> some_head_factors() {
  std::vector<float> factors;
  for (int64_t i = 0; i < kDemoLayers * kDemoHeads; ++i)
    factors.push_back(0.25F * static_cast<float>(1 + i * 5 % 11));
  return factors;
}

// A folder of the demo model's gates with factors in their config.json, and head_threshold=0.02 as their
// rule.
struct GatesWithFactors {
  TempDir dir;

  explicit GatesWithFactors(const std::vector<float>& factors) {
    const std::filesystem::path gates = demo_model() / "gates";
    std::filesystem::create_symlink(gates / "attn_gate_weights.safetensors",
                                    dir.path() / "attn_gate_weights.safetensors");
    auto config = nlohmann::json::parse(read_file(gates / "config.json"));
    config["seerattn_sparsity_method"] = "head_threshold";
    config["seerattn_threshold"] = 0.02;
    for (int64_t l = 0; l < kDemoLayers; ++l)
      config["seer_threshold_factors"].push_back(
          std::vector<float>(factors.begin() + l * kDemoHeads, factors.begin() + (l + 1) * kDemoHeads));
    write_file(dir.path() / "config.json", config.dump());
  }
  std::shared_ptr<Engine> load() const {
    EngineOptions options = demo_options(1024, 256);
    options.gates_dir = dir.path().string();
    return Engine::load(options);
  }
};

}  // namespace seer::testing
