// Reads outputs of the official SeerAttention gate code in float32 (the test data's goldens/) for comparison.
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

// Both sides sum in float32 in different orders. The goldens themselves are up to 6e-5 away from Hugging
// Face.
inline constexpr double kLogitTolerance = 1e-3;
// The goldens' scores rotate by float32 angles. They differ from a float64 computation by up to 3.4e-5
// (softmaxed), or 5e-6 of their size (raw).
inline constexpr double kScoreDifference = 5e-5;
// Scores that are this near to the rule's edge may fall to either side of it.
inline constexpr double kScoreTolerance = 1e-5;

struct GoldenRule {
  std::string name;
  SparseRule rule;
  bool last_dense = true;
  std::vector<float> logits;                     // [n_logits, n_vocab]
  std::map<int64_t, std::vector<float>> scores;  // by layer, [n_heads, n_blocks, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;
};

// The spelling of config.json. The goldens' own file is spelled as transformers 4 writes it: rope_theta,
// rope_scaling, torch_dtype.
enum class ConfigSpelling { kTransformers4, kTransformers5 };

// Returns the file that transformers 5.24 saves after it has read such a config.json: with rope_parameters,
// dtype and, for Qwen, layer_types. A config.json without torch_dtype is not of version 4, and is refused.
std::string spelled_by_transformers_5(const std::string& config_json);

class Golden {
 public:
  // Returns nothing, and marks the test as skipped, if the test data are absent. In version 5's spelling,
  // `model_dir` is a folder of links and a rewritten config.json, which exists as long as a copy of the
  // golden does.
  static std::optional<Golden> read(const std::string& name,
                                    ConfigSpelling spelling = ConfigSpelling::kTransformers4);

  std::string model_dir, gates_dir;
  std::vector<int32_t> input_ids;
  std::vector<float> dense_logits;
  std::vector<GoldenRule> rules;
  int64_t n_vocab = 0;
  int64_t n_heads = 0;

  int64_t n_logits() const { return static_cast<int64_t>(dense_logits.size()) / n_vocab; }
  // Returns a gates folder whose config sets seerattn_last_block_dense to `last_dense`.
  std::string gates_with(bool last_dense) const;
  // Counts the entries that differ although their score is not within `tolerance` of the rule's edge.
  int64_t count_mask_errors(const GoldenRule& rule, int64_t layer, const std::vector<uint8_t>& mask,
                            double tolerance = kScoreTolerance) const;
  // Returns the largest difference over causal entries, relative to the layer's largest score if that is
  // above 1.
  double max_score_difference(const GoldenRule& rule, int64_t layer, const std::vector<float>& scores) const;

 private:
  std::shared_ptr<TempDir> other_gates_ = std::make_shared<TempDir>();
  std::shared_ptr<TempDir> respelled_;  // absent if the golden's own folder is used
};

}  // namespace seer::testing
