#include "models/decode_gate_weights.h"

#include "models/gate_files.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr const char* kKeyType = "seerattn_k_seq_pooling_type";
constexpr const char* kQueryType = "seerattn_q_head_pooling_type";

void parse_pooling(const JsonReader& r, DecodeGateConfig* c) {
  using QueryPool = DecodeGateConfig::QueryPool;
  const std::string keys = r.optional_string(kKeyType).value_or("Kmaxminavg");
  const std::string query = r.optional_string(kQueryType).value_or("Qproj");
  if (!keys.starts_with('K') || !parse_pools(std::string_view(keys).substr(1), &c->k))
    r.fail(kKeyType, "K<pools> with pools from max, min and avg, as in Kmaxminavg", *r.find(kKeyType));
  if (query == "Qproj") {
    c->query_pool = QueryPool::kProjected;
  } else if (query == "Qavgproj") {
    c->query_pool = QueryPool::kMeanProjected;
  } else if (query == "Qavg") {
    c->query_pool = QueryPool::kMean;
  } else {
    r.fail(kQueryType, "Qproj, Qavgproj or Qavg", *r.find(kQueryType));
  }
  c->gate_type = query + "_" + keys;
}

constexpr int64_t kUsualBudget = 4096;  // upstream's default, which its programs write into every file

// A threshold of 0.0 means that it was never tuned. It would keep every block, so the budget is used instead.
// This also lets a file whose rule is a budget name the method "threshold", which upstream's classes require.
void parse_decode_rule(const JsonReader& r, DecodeGateConfig* c) {
  using Method = DecodeRule::Method;
  const std::string method = r.optional_string("seerattn_sparsity_method").value_or("threshold");
  const std::string form = r.optional_string("seerattn_implementation").value_or("seer_sparse");
  const double threshold = r.number("seerattn_threshold", 0.0, 0.0, 1.0);
  const int64_t budget = r.optional_integer("seerattn_token_budget", 0, INT32_MAX).value_or(kUsualBudget);
  if (threshold >= 1.0) r.fail("seerattn_threshold", "below 1", *r.find("seerattn_threshold"));
  if (method != "threshold" && method != "token_budget")
    r.fail("seerattn_sparsity_method", "threshold or token_budget", *r.find("seerattn_sparsity_method"));
  if (form != "seer_sparse" && form != "seer_dense")
    r.fail("seerattn_implementation", "seer_sparse or seer_dense", *r.find("seerattn_implementation"));
  const bool tuned = method == "threshold" && threshold > 0.0;
  c->untuned = form == "seer_sparse" && method == "threshold" && !tuned && budget == kUsualBudget;
  if (form == "seer_dense") {
    c->rule = {};
  } else if (tuned) {
    c->rule = {Method::kThreshold, threshold};
  } else {
    if (budget < c->gate_block)
      r.fail("seerattn_token_budget", "at least one block of " + std::to_string(c->gate_block) + " tokens",
             *r.find("seerattn_token_budget"));
    c->rule = {Method::kBudget, static_cast<double>(budget)};
  }
}

std::string layer_prefix(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.attngate_";
}

}  // namespace

DecodeGateConfig DecodeGateWeights::read_config(const JsonReader& r, const ModelConfig& model) {
  DecodeGateConfig c;
  if (!describes(r))
    throw Error(ErrorKind::kFile, r.origin() + ": the key " + kKeyType +
                                      " is missing; expected the config.json of SeerAttention-R gates");
  parse_pooling(r, &c);
  c.gate_block = r.optional_integer("seerattn_gate_block_size", 1, INT32_MAX).value_or(64);
  if (c.gate_block != 16 && c.gate_block != 32 && c.gate_block != 64)
    r.fail("seerattn_gate_block_size", "16, 32 or 64", *r.find("seerattn_gate_block_size"));
  c.d_gate = r.optional_integer("seerattn_gate_hidden_size", 1, 4096).value_or(128);
  // With other sizes, upstream's models disagree about how many components are rotated. Upstream's classes
  // accept only 64, 128 and 256, but its code has no reason for that, so this accepts the size of every
  // model's heads.
  if (c.d_gate != model.d_head)
    throw Error(ErrorKind::kUnsupported,
                r.origin() +
                    ": gates for decoding of another size than the model's heads are not supported: "
                    "expected seerattn_gate_hidden_size " +
                    std::to_string(model.d_head) + ", found " + std::to_string(c.d_gate));
  c.has_norms = r.boolean("seerattn_use_qk_norm", false);
  c.rotates = r.boolean("seerattn_use_rope", true);
  c.start_layer = r.optional_integer("seerattn_start_layer", 0, model.n_layers).value_or(0);
  // Gate keys are made from keys that are rotated back, which needs a single rotation for each position.
  if (model.rope.type == RopeConfig::Type::kDynamic)
    throw Error(ErrorKind::kUnsupported,
                r.origin() +
                    ": gates for decoding are not supported with dynamic RoPE scaling: expected "
                    "rotations that do not depend on the length. Leave out these gates.");
  parse_decode_rule(r, &c);
  return c;
}

DecodeGateWeights DecodeGateWeights::load(const std::string& gates_dir, const ModelConfig& model) {
  const JsonReader r = read_gate_config(gates_dir);
  check_gates_fit(r, model);
  DecodeGateWeights g;
  g.config = read_config(r, model);
  GateTensors tensors(gates_dir);
  const DecodeGateConfig& c = g.config;
  const int64_t n_kv_heads = model.n_kv_heads, d_head = model.d_head, group = model.n_heads / n_kv_heads;
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string prefix = layer_prefix(l), q_name = prefix + "linear_q.weight";
    DecodeGateLayer& layer = g.layers.emplace_back();
    // The matrices of a group's heads lie one after the other, so they are one matrix of group * d_head
    // inputs.
    if (c.query_pool == DecodeGateConfig::QueryPool::kProjected)
      layer.linear_q = tensors.take(q_name, {n_kv_heads, group, d_head, c.d_gate})
                           .reshaped({n_kv_heads, group * d_head, c.d_gate});
    if (c.query_pool == DecodeGateConfig::QueryPool::kMeanProjected)
      layer.linear_q = tensors.take(q_name, {n_kv_heads, d_head, c.d_gate});
    layer.linear_k = tensors.take(prefix + "linear_k.weight", {n_kv_heads, c.k.count() * d_head, c.d_gate});
    if (!c.has_norms) continue;
    layer.q_norm = tensors.take(prefix + "qnorm.weight", {c.d_gate});
    layer.k_norm = tensors.take(prefix + "knorm.weight", {c.d_gate});
  }
  g.tensors = tensors.finish(c.gate_type + " gates");
  return g;
}

std::optional<DecodeGateWeights> DecodeGateWeights::random(const std::string& config_path,
                                                           const ModelConfig& model, uint64_t seed) {
  const JsonReader r(read_json_object(config_path, kMaxGateConfigBytes), config_path);
  if (!describes(r)) return std::nullopt;
  DecodeGateWeights g;
  g.config = read_config(r, model);
  g.tensors.set_source("random decode gates of " + config_path);
  const DecodeGateConfig& c = g.config;
  const int64_t n_q = c.query_heads(model.n_heads / model.n_kv_heads) * model.d_head;
  const auto make = [&](const std::string& name, int64_t n_heads, int64_t d_in) {
    return add_random_gate(&g.tensors, name, n_heads, d_in, c.d_gate, seed++);
  };
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string prefix = layer_prefix(l);
    DecodeGateLayer& layer = g.layers.emplace_back();
    if (n_q > 0) layer.linear_q = make(prefix + "linear_q.weight", model.n_kv_heads, n_q);
    layer.linear_k = make(prefix + "linear_k.weight", model.n_kv_heads, c.k.count() * model.d_head);
    if (!c.has_norms) continue;
    layer.q_norm = make(prefix + "qnorm.weight", 1, 1).reshaped({c.d_gate});
    layer.k_norm = make(prefix + "knorm.weight", 1, 1).reshaped({c.d_gate});
  }
  return g;
}

void DecodeGateWeights::keep(const Shard& shard) {
  const auto keep_heads = [&](Tensor* t) {
    if (*t) *t = t->rows(shard.first_kv_head, shard.local.n_kv_heads);
  };
  for (DecodeGateLayer& layer : layers) {
    keep_heads(&layer.linear_q);
    keep_heads(&layer.linear_k);
  }
}

}  // namespace seer
