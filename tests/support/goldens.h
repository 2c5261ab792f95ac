// Outputs of the official SeerAttention gate code in float32 (the test data's goldens/), read for comparison.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/sparse.h"
#include "tests/support/test_data.h"

namespace seer::testing {

// Both sides sum in float32 in other orders; the goldens' own distance to Hugging Face is up to 6e-5.
inline constexpr double kLogitTolerance = 1e-3;
// The goldens' scores, which rotate by float32 angles, are up to 3.4e-5 (softmaxed) or 5e-6 of their size
// (raw) from a float64 computation.
inline constexpr double kScoreDifference = 5e-5;
// Scores this near the rule may fall to either side of it.
inline constexpr double kScoreTolerance = 1e-5;

struct GoldenRule {
  std::string name;
  SparseRule rule;
  bool last_dense = true;
  std::vector<float> logits;                     // [n_logits, n_vocab]
  std::map<int64_t, std::vector<float>> scores;  // by layer, [n_heads, n_blocks, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;
};

// The goldens' own config.json is what transformers 4 writes: rope_theta, rope_scaling, torch_dtype.
enum class ConfigSpelling { kTransformers4, kTransformers5 };

// What transformers 5.24 saves after it has read such a config.json: rope_parameters, dtype and, for Qwen,
// layer_types. A config.json without torch_dtype is not of version 4, and refused.
std::string spelled_by_transformers_5(const std::string& config_json);

class Golden {
 public:
  // Absent, and the test marked as skipped, where the test data are. In version 5's spelling `model_dir` is a
  // folder of links and a rewritten config.json, which lives as long as a copy of the golden.
  static std::optional<Golden> read(const std::string& name,
                                    ConfigSpelling spelling = ConfigSpelling::kTransformers4);

  std::string model_dir, gates_dir;
  std::vector<int32_t> input_ids;
  std::vector<float> dense_logits;
  std::vector<GoldenRule> rules;
  int64_t n_vocab = 0;
  int64_t n_heads = 0;

  int64_t n_logits() const { return static_cast<int64_t>(dense_logits.size()) / n_vocab; }
  // A gates folder whose config says seerattn_last_block_dense as asked.
  std::string gates_with(bool last_dense) const;
  // Entries that differ though their score is not within `tolerance` of the rule.
  int64_t count_mask_errors(const GoldenRule& rule, int64_t layer, const std::vector<uint8_t>& mask,
                            double tolerance = kScoreTolerance) const;
  // Over causal entries, relative to the layer's largest where that is above 1.
  double max_score_difference(const GoldenRule& rule, int64_t layer, const std::vector<float>& scores) const;

 private:
  std::shared_ptr<TempDir> other_gates_ = std::make_shared<TempDir>();
  std::shared_ptr<TempDir> respelled_;  // absent where the golden's own folder serves
};

}  // namespace seer::testing
