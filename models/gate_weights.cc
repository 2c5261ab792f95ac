#include "models/gate_weights.h"

#include <map>

#include "models/family.h"
#include "models/gate_files.h"
#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr double kUntunedThreshold = 2e-3;  // upstream's default if the config says 0.0
constexpr const char* kFactors = "seer_threshold_factors";
constexpr const char* kTypeForm = "Q<pools>_K<pools> with pools from max, min and avg, as in Qavg_Kmaxminavg";

// SeerAttention's own code has threshold and nz_ratio; head_threshold and nz_ratio_row are ours. The value of
// both thresholds is the key seerattn_threshold, and that of both ratios is seerattn_nz_ratio.
void parse_rule(const JsonReader& r, GateConfig* c) {
  using Method = SelectRule::Method;
  static const std::map<std::string, Method> kMethods = {{"threshold", Method::kThreshold},
                                                         {"head_threshold", Method::kHeadThreshold},
                                                         {"nz_ratio", Method::kNzRatio},
                                                         {"nz_ratio_row", Method::kNzRatioRow}};
  const auto method = kMethods.find(r.optional_string("seerattn_sparsity_method").value_or("threshold"));
  if (method == kMethods.end())
    r.fail("seerattn_sparsity_method", "threshold, head_threshold, nz_ratio or nz_ratio_row",
           *r.find("seerattn_sparsity_method"));
  double threshold = r.number("seerattn_threshold", 0.0, 0.0, 1.0);
  const double nz_ratio = r.number("seerattn_nz_ratio", 1.0, 0.0, 1.0);
  c->rule.method = method->second;
  c->rule.last_block_dense = r.boolean("seerattn_last_block_dense", true);
  if (threshold >= 1.0) r.fail("seerattn_threshold", "below 1", *r.find("seerattn_threshold"));
  if (!c->rule.by_threshold() && nz_ratio <= 0.0)
    r.fail("seerattn_nz_ratio", "above 0", *r.find("seerattn_nz_ratio"));
  if (threshold == 0.0) {
    threshold = kUntunedThreshold;
    c->untuned = c->rule.by_threshold();
  }
  c->rule.value = c->rule.by_threshold() ? threshold : nz_ratio;
}

// Reads a number for each head of each layer.
void parse_factors(const JsonReader& r, const ModelConfig& model, GateConfig* c) {
  const Json* const layers = r.find(kFactors);
  if (layers == nullptr) {
    if (c->rule.method == SelectRule::Method::kHeadThreshold)
      throw Error(ErrorKind::kFile,
                  r.origin() + ": the key " + kFactors +
                      " is missing, which seerattn_sparsity_method head_threshold needs. Let "
                      "seer tune --per-head --write make it, or use threshold.");
    return;
  }
  const auto as_list = [&](const Json& value, int64_t n, const std::string& name, const char* of) {
    if (!value.is_array()) r.fail(name, "a list", value);
    if (static_cast<int64_t>(value.size()) != n)
      throw Error(ErrorKind::kFile, r.origin() + ": expected " + name + " to have " + std::to_string(n) +
                                        " " + of + ", as many as the model, found " +
                                        std::to_string(value.size()));
  };
  as_list(*layers, model.n_layers, kFactors, "layers");
  for (size_t l = 0; l < layers->size(); ++l) {
    const std::string layer = std::string(kFactors) + "[" + std::to_string(l) + "]";
    as_list((*layers)[l], model.n_heads, layer, "heads");
    for (size_t h = 0; h < (*layers)[l].size(); ++h) {
      const Json& factor = (*layers)[l][h];
      if (!factor.is_number() ||
          !(factor.get<double>() > 0.0 && factor.get<double>() <= GateConfig::kMostHeadFactor))
        r.fail(layer + "[" + std::to_string(h) + "]", "a number above 0 and up to 1000", factor);
      c->head_factors.push_back(factor.get<float>());
    }
  }
}

std::string tensor_name(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.mask_linear_";
}

}  // namespace

GateConfig GateWeights::read_config(const JsonReader& r, const ModelConfig& model) {
  GateConfig c;
  const auto type = r.optional_string("seerattn_gate_type");
  if (!type)
    throw Error(ErrorKind::kFile, r.origin() +
                                      ": the key seerattn_gate_type is missing; expected the config.json of "
                                      "SeerAttention gates");
  c.gate_type = *type;
  const std::string_view text = c.gate_type;
  const size_t split = text.find("_K");
  if (!text.starts_with('Q') || split == std::string_view::npos ||
      !parse_pools(text.substr(1, split - 1), &c.q) || !parse_pools(text.substr(split + 2), &c.k))
    r.fail("seerattn_gate_type", kTypeForm, *r.find("seerattn_gate_type"));

  c.gate_block = r.integer({"seerattn_gate_block_size"}, 16, 128);
  c.d_gate = r.integer({"seerattn_gate_hidden_size"}, 1, 4096);
  if (c.d_gate < model.d_head)
    throw Error(ErrorKind::kFile,
                r.origin() + ": expected seerattn_gate_hidden_size to be at least the model's head size " +
                    std::to_string(model.d_head) + ", found " + std::to_string(c.d_gate));
  // Upstream's Qwen2 takes the number of rotated components from head_dim, and from d_gate if that is absent.
  if (c.d_gate != model.d_head && model.family == &kQwen2 && !r.has("head_dim"))
    throw Error(ErrorKind::kUnsupported,
                r.origin() + ": without the key head_dim, all " + std::to_string(c.d_gate) +
                    " components of a Qwen2 model's gates are rotated, which is not supported; expected "
                    "seerattn_gate_hidden_size " +
                    std::to_string(model.d_head) + " or head_dim");
  c.double_linear =
      c.q.count() > 1 || c.d_gate != model.d_head || r.boolean("seerattn_gate_force_double", false);
  parse_rule(r, &c);
  parse_factors(r, model, &c);
  return c;
}

GateWeights GateWeights::load(const std::string& gates_dir, const ModelConfig& model) {
  const JsonReader r = read_gate_config(gates_dir);
  check_gates_fit(r, model);
  GateWeights g;
  g.config = read_config(r, model);
  GateTensors tensors(gates_dir);
  const GateConfig& c = g.config;
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string name = tensor_name(l);
    GateLayer& layer = g.layers.emplace_back();
    if (c.double_linear)
      layer.linear_q = tensors.take(name + "q.weight", {model.n_heads, c.q.count() * model.d_head, c.d_gate});
    layer.linear_k =
        tensors.take(name + "k.weight", {c.n_gate_heads(model), c.k.count() * model.d_head, c.d_gate});
  }
  g.tensors = tensors.finish(c.gate_type + " gates");
  return g;
}

std::optional<GateWeights> GateWeights::random(const std::string& config_path, const ModelConfig& model,
                                               uint64_t seed) {
  const JsonReader r(read_json_object(config_path, kMaxGateConfigBytes), config_path);
  if (!r.has("seerattn_gate_type")) return std::nullopt;
  GateWeights g;
  g.config = read_config(r, model);
  g.tensors.set_source("random gates of " + config_path);
  const GateConfig& c = g.config;
  const auto make = [&](const std::string& name, int64_t n_heads, int64_t d_in) {
    return add_random_gate(&g.tensors, name, n_heads, d_in, c.d_gate, seed++);
  };
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string name = tensor_name(l);
    GateLayer& layer = g.layers.emplace_back();
    if (c.double_linear) layer.linear_q = make(name + "q.weight", model.n_heads, c.q.count() * model.d_head);
    layer.linear_k = make(name + "k.weight", c.n_gate_heads(model), c.k.count() * model.d_head);
  }
  return g;
}

void GateWeights::keep(const Shard& shard) {
  if (!config.head_factors.empty()) {
    const auto n_heads = static_cast<int64_t>(config.head_factors.size() / layers.size());
    std::vector<float> mine;
    for (size_t l = 0; l < layers.size(); ++l) {
      const auto first = config.head_factors.begin() + static_cast<int64_t>(l) * n_heads + shard.first_head;
      mine.insert(mine.end(), first, first + shard.local.n_heads);
    }
    config.head_factors = std::move(mine);
  }
  const bool by_kv_head = config.double_linear;
  for (GateLayer& layer : layers) {
    if (layer.linear_q) layer.linear_q = layer.linear_q.rows(shard.first_head, shard.local.n_heads);
    layer.linear_k = layer.linear_k.rows(by_kv_head ? shard.first_kv_head : shard.first_head,
                                         config.n_gate_heads(shard.local));
  }
}

}  // namespace seer
