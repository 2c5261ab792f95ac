// Reads outputs of the official SeerAttention-R gate code in float32 (the test data's goldens/r-*), for
// comparison.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/block_mask.h"

namespace seer::testing {

// One rule, and what a model gives under it if the prompt is dense and then each token is decoded by itself.
struct DecodeGoldenRule {
  std::string name;
  DecodeRule rule;
  double density = 0.0;
  std::vector<float> logits;                        // [n_steps, n_vocab]
  std::map<int64_t, std::vector<float>> scores;     // by layer, [n_steps, n_kv_heads, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;    // by layer, likewise
  std::map<int64_t, std::vector<float>> gate_keys;  // by layer, [full blocks, n_kv_heads, d_gate]
};

struct DecodeGolden {
  // Returns nothing, and marks the test as skipped, if the test data are absent.
  static std::optional<DecodeGolden> read(const std::string& name);

  std::string model_dir, gates_dir;
  std::vector<int32_t> input_ids;
  std::vector<float> dense_logits;  // [n_steps + 1, n_vocab], from the prompt's last position on
  std::vector<DecodeGoldenRule> rules;
  int64_t n_prompt = 0, n_steps = 0, block = 0, n_vocab = 0, n_kv_heads = 0, n_blocks = 0, n_layers = 0;

  // Returns how many blocks of a step and layer differ from the golden's, leaving out those whose score is
  // within `tolerance` of the rule's edge. `kept` is [n_kv_heads, n_blocks].
  int64_t count_mask_errors(const DecodeGoldenRule& rule, int64_t layer, int64_t step,
                            const std::vector<uint8_t>& kept, double tolerance) const;
};

}  // namespace seer::testing
