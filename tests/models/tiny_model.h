// A random model small enough for a float64 forward pass in the test, in files in a folder of its own.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/models/safetensors_builder.h"
#include "tests/support/test_data.h"

namespace seer::testing {

struct TinyShape {
  int64_t n_layers = 2, n_heads = 4, n_kv_heads = 2, d_head = 8;
  int64_t d_model = 24, d_ff = 40, n_vocab = 53;  // none is a multiple of a vector's width
  int64_t max_positions = 1024;
  bool attention_bias = true, mlp_bias = true, tied = false;
  std::string architecture = "LlamaForCausalLM";

  // Whether the family has these tensors in addition to its weight matrices.
  bool qkv_bias() const { return attention_bias || architecture == "Qwen2ForCausalLM"; }
  bool output_bias() const { return attention_bias && architecture != "Qwen2ForCausalLM"; }
  bool any_mlp_bias() const { return mlp_bias && architecture == "LlamaForCausalLM"; }
  bool head_norms() const { return architecture == "Qwen3ForCausalLM"; }
};

class TinyModel {
 public:
  explicit TinyModel(const TinyShape& shape = {});

  const TinyShape& shape() const { return shape_; }
  std::string path() const { return dir_.path().string(); }
  nlohmann::json config() const;
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  const std::vector<float>& values(const std::string& name) const { return values_.at(name); }
  bool has(const std::string& name) const { return values_.count(name) != 0; }

  // Replaces the files; values() stays unchanged.
  void write_config(const nlohmann::json& config) const;
  void write_tensors(const std::vector<NamedTensor>& tensors) const;

 private:
  void add(const std::string& name, const std::vector<int64_t>& shape, float center, float spread);

  TinyShape shape_;
  TempDir dir_;
  uint64_t random_ = 1;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, std::vector<float>> values_;
};

// Random gates for such a model: the gate type, d_gate, and whether a layer has two weights or one.
struct TinyGates {
  std::string gate_type = "Qavg_Kmaxminavg";
  int64_t n_q_pools = 1, n_k_pools = 3;
  int64_t gate_block = 16, d_gate = 8;
  bool double_linear = false;
  nlohmann::json threshold_factors = {};  // seer_threshold_factors; null: none

  nlohmann::json config(const TinyShape& model) const;
  std::vector<NamedTensor> tensors(const TinyShape& model) const;
};

// Returns a number that is uniform in [-1, 1), the same on every machine.
float next_random(uint64_t* state);

}  // namespace seer::testing
