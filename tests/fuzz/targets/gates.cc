// The config.json of trained gates, next to correct gates.
#include "models/config.h"
#include "models/gate_weights.h"
#include "tests/fuzz/support.h"
#include "tests/models/tiny_model.h"

namespace seer::fuzz::gates_target {
namespace {

constexpr size_t kMaxSize = 4096;

void run(const std::string& bytes) {
  static const testing::TinyModel model;
  static const ModelConfig config = ModelConfig::load(model.path());
  static const Folder folder;
  static const std::string weights =
      folder.write("attn_gate_weights.safetensors",
                   testing::safetensors_bytes(testing::TinyGates().tensors(model.shape())));
  folder.write("config.json", bytes);
  accepts([&] {
    const GateWeights gates = GateWeights::load(folder.path(), config);
    const GateConfig& c = gates.config;
    expect(c.gate_block >= 16 && c.gate_block <= 128, "gate_block");
    expect(c.d_gate >= config.d_head, "d_gate");
    expect(c.rule.value > 0.0 && c.rule.value <= 1.0, "the rule's value");
    expect(static_cast<int64_t>(gates.layers.size()) == config.n_layers, "the number of layers");
  });
}

const Registration kTarget({"gates", run, mutate_one_json<kMaxSize>, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::gates_target
