#include "models/distill/gate_plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/base/file_reader.h"
#include "engine/base/json_reader.h"
#include "models/distill/seeded.h"
#include "models/gate_files.h"
#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr const char* kOrigin = "the gates to be trained";

// These functions return the keys that upstream's classes read. The rules are upstream's untuned ones: its
// threshold of gates for prompts, and for decoding a threshold of 0, for which Seer takes the budget. The
// method is not "token_budget", because upstream's config classes of gates for decoding refuse that name.
OrderedJson prefill_keys(const GateSpec& spec, int64_t d_gate, int64_t d_head) {
  OrderedJson keys = {{"seerattn_sparsity_method", "threshold"},
                      {"seerattn_threshold", 0.002},
                      {"seerattn_nz_ratio", 1.0},
                      {"seerattn_gate_type", spec.type},
                      {"seerattn_gate_block_size", spec.block},
                      {"seerattn_gate_hidden_size", d_gate},
                      {"seerattn_last_block_dense", true},
                      {"seerattn_gate_force_double", spec.force_double}};
  // Without this key upstream's Qwen2 rotates all d_gate components (GateWeights::read_config).
  if (d_gate != d_head) keys["head_dim"] = d_head;
  return keys;
}

OrderedJson decode_keys(const GateSpec& spec, int64_t d_gate) {
  const size_t split = spec.type.find("_K");
  if (split == std::string::npos)
    throw Error(ErrorKind::kUsage,
                "gate type: expected a query pool and pools of keys, as in "
                "Qproj_Kmaxminavg, found '" +
                    spec.type + "'");
  return {{"seerattn_k_seq_pooling_type", spec.type.substr(split + 1)},
          {"seerattn_q_head_pooling_type", spec.type.substr(0, split)},
          {"seerattn_gate_block_size", spec.block},
          {"seerattn_gate_hidden_size", d_gate},
          {"seerattn_use_qk_norm", spec.norms},
          {"seerattn_use_rope", spec.rotates},
          {"seerattn_sparsity_method", "threshold"},
          {"seerattn_token_budget", 4096},
          {"seerattn_threshold", 0.0},
          {"seerattn_start_layer", 0},
          {"seerattn_implementation", "seer_sparse"}};
}

// Returns the name by which others know the model: _name_or_path of its config.json, and otherwise the last
// part of the folder's path. A path would be of use to nobody else, and whoever publishes gates should not
// publish it.
std::string model_name(const OrderedJson& config, const std::string& model_dir) {
  const auto key = config.find("_name_or_path");
  std::string said = key != config.end() && key->is_string() ? key->get<std::string>() : "";
  const bool is_path = said.empty() || said.find_first_of("/.~") == 0 || said.back() == '/' ||
                       said.find_first_of("\\:") != std::string::npos ||
                       std::count(said.begin(), said.end(), '/') > 1;
  if (!is_path) return said;
  const std::filesystem::path folder = std::filesystem::absolute(model_dir).lexically_normal();
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

}  // namespace

GatePlan::GatePlan(const GateSpec& spec, const std::string& model_dir, const ModelConfig& model)
    : n_layers_(model.n_layers) {
  const std::string path = (std::filesystem::path(model_dir) / "config.json").string();
  config_ = read_ordered_json(read_whole_file(path, kMaxGateConfigBytes));
  config_["base_model"] = model_name(config_, model_dir);
  if (config_.contains("_name_or_path")) config_["_name_or_path"] = config_["base_model"];
  const int64_t d_gate = spec.d_gate == 0 ? model.d_head : spec.d_gate;
  const OrderedJson keys = spec.decode ? decode_keys(spec, d_gate) : prefill_keys(spec, d_gate, model.d_head);
  for (const auto& [key, value] : keys.items()) config_[key] = value;
  const JsonReader reader(read_json(keys.dump()), kOrigin);
  try {
    if (spec.decode) {
      decode_ = DecodeGateWeights::read_config(reader, model);
      plan_decode(model);
    } else {
      prefill_ = GateWeights::read_config(reader, model);
      plan_prefill(model);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFile) throw;
    throw Error(ErrorKind::kUsage, error.what());  // the cause is an option, not a file
  }
}

std::string GatePlan::file_name(int64_t layer, const PlannedTensor& tensor) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate." + tensor.name;
}

void GatePlan::add_tensor(const std::string& name, std::vector<int64_t> shape, bool of_heads) {
  PlannedTensor tensor{name, std::move(shape), layer_size_, 0.0, of_heads};
  // First weights are uniform with the limit of torch's xavier_uniform_, by which upstream initialises them.
  // For a tensor of three or more dimensions, that function takes the second one times all later ones as
  // inputs, and the first times all later ones as outputs.
  if (of_heads) {
    const int64_t others = tensor.size() / (tensor.shape[0] * tensor.shape[1]);
    tensor.spread = std::sqrt(6.0 / static_cast<double>((tensor.shape[0] + tensor.shape[1]) * others));
  }
  layer_size_ += tensor.size();
  tensors_.push_back(std::move(tensor));
}

void GatePlan::plan_prefill(const ModelConfig& model) {
  const GateConfig& c = *prefill_;
  if (c.double_linear)
    add_tensor("mask_linear_q.weight", {model.n_heads, c.q.count() * model.d_head, c.d_gate});
  add_tensor("mask_linear_k.weight", {c.n_gate_heads(model), c.k.count() * model.d_head, c.d_gate});
}

void GatePlan::plan_decode(const ModelConfig& model) {
  const DecodeGateConfig& c = *decode_;
  const int64_t group = model.n_heads / model.n_kv_heads;
  if (c.query_pool == DecodeGateConfig::QueryPool::kProjected)
    add_tensor("attngate_linear_q.weight", {model.n_kv_heads, group, model.d_head, c.d_gate});
  if (c.query_pool == DecodeGateConfig::QueryPool::kMeanProjected)
    add_tensor("attngate_linear_q.weight", {model.n_kv_heads, model.d_head, c.d_gate});
  add_tensor("attngate_linear_k.weight", {model.n_kv_heads, c.k.count() * model.d_head, c.d_gate});
  if (!c.has_norms) return;
  add_tensor("attngate_qnorm.weight", {c.d_gate}, false);
  add_tensor("attngate_knorm.weight", {c.d_gate}, false);
}

GatePlan GatePlan::divided(int n_ranks) const {
  GatePlan part = *this;
  part.layer_size_ = 0;
  for (PlannedTensor& tensor : part.tensors_) {
    if (tensor.of_heads && tensor.shape[0] % n_ranks != 0)
      throw Error(ErrorKind::kUnsupported, type() + " gates have the weights " + tensor.name +
                                               " for each of " + std::to_string(tensor.shape[0]) +
                                               " KV heads, and are trained by no more ranks than " +
                                               "these: found " + std::to_string(n_ranks) + " ranks");
    if (tensor.of_heads) tensor.shape[0] /= n_ranks;
    tensor.first = part.layer_size_;
    part.layer_size_ += tensor.size();
  }
  return part;
}

std::vector<float> GatePlan::first_weights(uint64_t seed) const {
  std::vector<float> weights(static_cast<size_t>(size()));
  for (int64_t l = 0; l < n_layers_; ++l)
    for (const PlannedTensor& tensor : tensors_)
      for (int64_t i = 0; i < tensor.size(); ++i) {
        const auto at = static_cast<uint64_t>(l * layer_size_ + tensor.first + i);
        const double unit = 2.0 * seeded_unit(seed, at) - 1.0;
        weights[at] = tensor.spread == 0.0 ? 1.0F : static_cast<float>(unit * tensor.spread);
      }
  return weights;
}

}  // namespace seer
