#include "models/gate_weights.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "kernels/random_weights.h"
#include "models/checkpoint_folder.h"
#include "models/finite_weights.h"
#include "models/json_util.h"
#include "models/pth.h"
#include "seer/error.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxGateConfigBytes = int64_t{16} << 20;
constexpr double kUntunedThreshold = 2e-3;  // upstream's default if the config says 0.0
constexpr const char* kTypeForm = "Q<pools>_K<pools> with pools from max, min and avg, as in Qavg_Kmaxminavg";

// "maxminavg": each pool at most once, in any order; they are always concatenated as max, min, avg.
bool parse_pools(std::string_view text, GatePools* pools) {
  while (!text.empty()) {
    bool* pool = text.starts_with("max")   ? &pools->max
                 : text.starts_with("min") ? &pools->min
                 : text.starts_with("avg") ? &pools->avg
                                           : nullptr;
    if (pool == nullptr || *pool) return false;
    *pool = true;
    text.remove_prefix(3);
  }
  return pools->count() > 0;
}

void check_same_model(const JsonReader& r, const ModelConfig& model) {
  const auto check = [&](const char* key, int64_t expected) {
    const auto found = r.optional_integer(key, 0, INT64_MAX);
    if (found && *found != expected)
      throw Error(ErrorKind::kFile, r.origin() + ": these gates belong to another model: expected " + key +
                                        " " + std::to_string(expected) + ", as the model has it, found " +
                                        std::to_string(*found));
  };
  check("num_hidden_layers", model.n_layers);
  check("num_attention_heads", model.n_heads);
  check("num_key_value_heads", model.n_kv_heads);
  check("head_dim", model.d_head);
  check("hidden_size", model.d_model);
  check("vocab_size", model.n_vocab);
}

// SeerAttention's own code has the first two methods; nz_ratio_row is ours. The value of both ratios is the
// key seerattn_nz_ratio.
void parse_rule(const JsonReader& r, GateConfig* c) {
  using Method = SelectRule::Method;
  static const std::map<std::string, Method> kMethods = {{"threshold", Method::kThreshold},
                                                         {"nz_ratio", Method::kNzRatio},
                                                         {"nz_ratio_row", Method::kNzRatioRow}};
  const auto method = kMethods.find(r.optional_string("seerattn_sparsity_method").value_or("threshold"));
  if (method == kMethods.end())
    r.fail("seerattn_sparsity_method", "threshold, nz_ratio or nz_ratio_row",
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

GateConfig parse_gate_config(const JsonReader& r, const ModelConfig& model) {
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
  c.double_linear =
      c.q.count() > 1 || c.d_gate != model.d_head || r.boolean("seerattn_gate_force_double", false);
  parse_rule(r, &c);
  return c;
}

TensorMap read_tensors(const fs::path& dir) {
  const fs::path safetensors = dir / "attn_gate_weights.safetensors", pth = dir / "attn_gate_weights.pth";
  if (has_entry(safetensors)) return read_safetensors(safetensors.string());
  if (has_entry(pth)) return read_pth(pth.string());
  throw Error(
      ErrorKind::kFile,
      dir.string() + ": expected attn_gate_weights.safetensors or attn_gate_weights.pth, found neither");
}

Tensor take(const TensorMap& tensors, const std::string& name, std::initializer_list<int64_t> shape,
            std::set<std::string>* taken) {
  const Tensor expected(nullptr, DType::kF32, shape);
  const Tensor* found = tensors.find(name);
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::kFile, tensors.source() + ": " + name + ": expected " + shape_string(expected) +
                                      " of BF16, F16 or F32, found " + what +
                                      ". Use the gates that were trained for this model.");
  };
  if (found == nullptr) fail("no such tensor");
  if (found->rank != expected.rank || found->shape != expected.shape) fail(shape_string(*found));
  if (found->dtype != DType::kF32 && found->dtype != DType::kF16 && found->dtype != DType::kBF16)
    fail(dtype_name(found->dtype));
  require_finite(*found, name, tensors.source());
  taken->insert(name);
  return *found;
}

std::string tensor_name(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.mask_linear_";
}

}  // namespace

GateWeights GateWeights::load(const std::string& gates_dir, const ModelConfig& model) {
  const fs::path dir = gates_dir;
  std::error_code error;
  if (!fs::is_directory(dir, error))
    throw Error(ErrorKind::kFile,
                gates_dir + ": expected a folder with config.json and attn_gate_weights.pth or .safetensors");
  const std::string path = (dir / "config.json").string();
  const JsonReader r(read_json_object(path, kMaxGateConfigBytes), path);
  check_same_model(r, model);
  GateWeights g;
  g.config = parse_gate_config(r, model);
  g.tensors = read_tensors(dir);

  const GateConfig& c = g.config;
  std::set<std::string> taken;
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string name = tensor_name(l);
    GateLayer& layer = g.layers.emplace_back();
    if (c.double_linear)
      layer.linear_q =
          take(g.tensors, name + "q.weight", {model.n_heads, c.q.count() * model.d_head, c.d_gate}, &taken);
    layer.linear_k = take(g.tensors, name + "k.weight",
                          {c.n_gate_heads(model), c.k.count() * model.d_head, c.d_gate}, &taken);
  }
  const auto check_known = [&](const std::string& name, const std::string& what) {
    if (taken.count(name) == 0)
      throw Error(ErrorKind::kFile, g.tensors.source() + ": the tensor " + name + " " + what +
                                        " is not one that " + c.gate_type + " gates of this model have");
  };
  for (const auto& [name, tensor] : g.tensors.all()) check_known(name, shape_string(tensor));
  for (const auto& [name, what] : g.tensors.foreign()) check_known(name, what);
  return g;
}

std::optional<GateWeights> GateWeights::random(const std::string& config_path, const ModelConfig& model,
                                               uint64_t seed) {
  const JsonReader r(read_json_object(config_path, kMaxGateConfigBytes), config_path);
  if (!r.has("seerattn_gate_type")) return std::nullopt;
  GateWeights g;
  g.config = parse_gate_config(r, model);
  g.tensors.set_source("random gates of " + config_path);
  const GateConfig& c = g.config;
  const auto make = [&](const std::string& name, int64_t n_heads, int64_t d_in) {
    Tensor t(nullptr, DType::kBF16, {n_heads, d_in, c.d_gate});
    const auto values = std::make_shared<std::vector<uint16_t>>(static_cast<size_t>(t.numel()));
    const float scale = std::sqrt(3.0F / static_cast<float>(d_in));
    for (size_t i = 0; i < values->size(); ++i) (*values)[i] = random_bf16(seed, i, 0.0F, scale);
    ++seed;
    t.data = values->data();
    g.tensors.keep(values);
    g.tensors.add(name, t, g.tensors.source());
    return t;
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
  const bool by_kv_head = config.double_linear;
  for (GateLayer& layer : layers) {
    if (layer.linear_q) layer.linear_q = layer.linear_q.rows(shard.first_head, shard.local.n_heads);
    layer.linear_k = layer.linear_k.rows(by_kv_head ? shard.first_kv_head : shard.first_head,
                                         config.n_gate_heads(shard.local));
  }
}

}  // namespace seer
