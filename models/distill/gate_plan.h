// Describes the gates to be trained: their kind and shape, the tensors of a layer, and their config.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "models/config.h"
#include "models/decode_gate_weights.h"
#include "models/gate_weights.h"

namespace seer {

struct GateSpec {
  bool decode = false;        // gates for decoding (SeerAttention-R), not for prompts
  std::string type;           // "Qavg_Kmaxminavg"; for decoding "Qproj_Kmaxminavg"
  int64_t block = 64;         // tokens
  int64_t d_gate = 0;         // 0: the size of the model's heads
  bool force_double = false;  // gates for prompts: two weights even if one would do
  bool norms = true;          // gates for decoding: RMS norms of gate queries and gate keys
  bool rotates = true;        // gates for decoding: RoPE of gate queries and gate keys
};

// A tensor of one layer's gate. The tensors of a layer lie one after the other in a list of numbers.
struct PlannedTensor {
  std::string name;  // "mask_linear_k.weight"
  std::vector<int64_t> shape;
  int64_t first = 0;     // in the layer's list
  double spread = 0;     // first weights are uniform in [-spread, spread]; 0: they are 1
  bool of_heads = true;  // the first dimension is heads or KV heads; if false, all heads share the tensor

  int64_t size() const {
    int64_t n = 1;
    for (const int64_t side : shape) n *= side;
    return n;
  }
};

class GatePlan {
 public:
  // Throws Error{kUsage} or Error{kUnsupported} if the model cannot have such gates, for the same reasons for
  // which loading them would fail: the constructor reads the config.json that they will have.
  GatePlan(const GateSpec& spec, const std::string& model_dir, const ModelConfig& model);

  bool decode() const { return decode_.has_value(); }
  const GateConfig& prefill_config() const { return *prefill_; }
  const DecodeGateConfig& decode_config() const { return *decode_; }
  const std::string& type() const { return decode() ? decode_->gate_type : prefill_->gate_type; }
  int64_t block() const { return decode() ? decode_->gate_block : prefill_->gate_block; }
  int64_t d_gate() const { return decode() ? decode_->d_gate : prefill_->d_gate; }

  const std::vector<PlannedTensor>& layer_tensors() const { return tensors_; }
  int64_t layer_size() const { return layer_size_; }  // numbers
  int64_t n_layers() const { return n_layers_; }
  int64_t size() const { return n_layers_ * layer_size_; }
  // Returns the name that a layer's tensor has in upstream's files.
  static std::string file_name(int64_t layer, const PlannedTensor& tensor);
  // Returns the config.json of the gates: the model's, with the keys of the gates added.
  const OrderedJson& config() const { return config_; }

  // Returns the plan of the gates that each of `n_ranks` ranks has, under tensor parallelism. Throws
  // Error{kUnsupported} if two of them would share the weights of a KV head.
  GatePlan divided(int n_ranks) const;
  // Returns the first weights of all layers. They depend on the seed and the plan alone.
  std::vector<float> first_weights(uint64_t seed) const;

 private:
  // Tensors that all heads of a layer use begin as ones, and must be added last.
  void add_tensor(const std::string& name, std::vector<int64_t> shape, bool of_heads = true);
  void plan_prefill(const ModelConfig& model);
  void plan_decode(const ModelConfig& model);

  std::optional<GateConfig> prefill_;
  std::optional<DecodeGateConfig> decode_;
  std::vector<PlannedTensor> tensors_;
  int64_t layer_size_ = 0, n_layers_ = 0;
  OrderedJson config_;
};

}  // namespace seer
