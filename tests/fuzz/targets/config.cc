// config.json. If it is accepted, the rest of the library must be able to calculate with its sizes.
#include "models/config.h"

#include <cmath>

#include "models/rope.h"
#include "tests/fuzz/support.h"

namespace seer::fuzz::config_target {
namespace {

constexpr size_t kMaxSize = 4096;

void check(const ModelConfig& c) {
  expect(c.family != nullptr, "no family");
  expect(c.n_layers >= 1 && c.n_heads >= 1 && c.n_kv_heads >= 1 && c.n_heads % c.n_kv_heads == 0,
         "layers or heads");
  expect(c.d_head >= 2 && c.d_head % 2 == 0 && c.d_model >= 1 && c.d_ff >= 1 && c.n_vocab >= 1, "sizes");
  expect(c.max_positions >= 1 && c.max_positions <= ModelConfig::kMaxPositions && c.window.value_or(1) >= 1,
         "positions");
  expect(std::isfinite(c.rms_norm_eps) && c.rms_norm_eps >= 0, "rms_norm_eps");
  for (const int32_t id : c.eos_ids) expect(id >= 0, "a negative id");
  const RopeFrequencies rope = rope_frequencies(c.rope, c.d_head, 4096);
  expect(std::isfinite(rope.attention_scaling), "the scaling of attention");
  expect(static_cast<int64_t>(rope.inv_freq.size()) == c.d_head / 2, "the number of frequencies");
}

void run(const std::string& bytes) {
  accepts([&] { check(ModelConfig::parse(bytes, "config.json")); });
}

const Registration kTarget({"config", run, mutate_one_json<kMaxSize>, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::config_target
