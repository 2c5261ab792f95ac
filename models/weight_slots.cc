#include "models/weight_slots.h"

namespace seer {
namespace {

template <Tensor LayerWeights::*member>
WeightTarget layer_tensor(ModelWeights& w, int64_t layer) {
  return {&(w.layers[static_cast<size_t>(layer)].*member), nullptr};
}
template <LinearWeights LayerWeights::*member>
WeightTarget layer_product(ModelWeights& w, int64_t layer) {
  return {nullptr, &(w.layers[static_cast<size_t>(layer)].*member)};
}
template <Tensor ModelWeights::*member>
WeightTarget model_tensor(ModelWeights& w, int64_t) {
  return {&(w.*member), nullptr};
}
template <LinearWeights ModelWeights::*member>
WeightTarget model_product(ModelWeights& w, int64_t) {
  return {nullptr, &(w.*member)};
}

}  // namespace

std::vector<WeightSlot> weight_slots(const ModelConfig& config, const Shard& shard, bool tied) {
  using Role = WeightRole;
  using Split = WeightSlot::Split;
  using L = LayerWeights;
  const ModelConfig& local = shard.local;
  const ModelConfig::Biases& biases = config.biases;
  const int64_t d_model = config.d_model, d_ff = config.d_ff, d_head = config.d_head;
  const int64_t d_q = config.n_heads * d_head, d_kv = config.n_kv_heads * d_head;
  const int64_t q = shard.first_head * d_head, n_q = local.n_heads * d_head;
  const int64_t kv = shard.first_kv_head * d_head, n_kv = local.n_kv_heads * d_head;
  const int64_t ff = shard.first_ff, n_ff = local.d_ff;
  const int64_t id = shard.first_id(), n_ids = shard.n_ids();

  // clang-format off
  const WeightSlot layer_slots[] = {
      {Role::kAttentionNorm, d_model, 0, Split::kWhole, 0, 0, false, layer_tensor<&L::attention_norm>},
      {Role::kQuery, d_q, d_model, Split::kRows, q, n_q, biases.qkv, layer_product<&L::qkv>},
      {Role::kKey, d_kv, d_model, Split::kRows, kv, n_kv, biases.qkv, layer_product<&L::qkv>},
      {Role::kValue, d_kv, d_model, Split::kRows, kv, n_kv, biases.qkv, layer_product<&L::qkv>},
      {Role::kQueryNorm, d_head, 0, Split::kWhole, 0, 0, false, layer_tensor<&L::query_norm>},
      {Role::kKeyNorm, d_head, 0, Split::kWhole, 0, 0, false, layer_tensor<&L::key_norm>},
      {Role::kOutput, d_model, d_q, Split::kColumns, q, n_q, biases.output, layer_product<&L::output>},
      {Role::kMlpNorm, d_model, 0, Split::kWhole, 0, 0, false, layer_tensor<&L::mlp_norm>},
      {Role::kGate, d_ff, d_model, Split::kRows, ff, n_ff, biases.mlp, layer_product<&L::gate_up>},
      {Role::kUp, d_ff, d_model, Split::kRows, ff, n_ff, biases.mlp, layer_product<&L::gate_up>},
      {Role::kDown, d_model, d_ff, Split::kColumns, ff, n_ff, biases.mlp, layer_product<&L::down>},
  };
  const WeightSlot embedding = {Role::kEmbedding, config.n_vocab, d_model, Split::kRows, id, n_ids, false,
                                model_tensor<&ModelWeights::embedding>};
  const WeightSlot norm = {Role::kNorm, d_model, 0, Split::kWhole, 0, 0, false,
                           model_tensor<&ModelWeights::norm>};
  const WeightSlot lm_head = {Role::kLmHead, config.n_vocab, d_model, Split::kRows, id, n_ids, false,
                              model_product<&ModelWeights::lm_head>};
  // clang-format on

  std::vector<WeightSlot> slots = {embedding};
  for (int64_t l = 0; l < config.n_layers; ++l)
    for (WeightSlot slot : layer_slots) {
      const bool head_norm = slot.role == Role::kQueryNorm || slot.role == Role::kKeyNorm;
      if (head_norm && !config.head_norms) continue;
      slot.layer = l;
      slots.push_back(slot);
    }
  slots.push_back(norm);
  if (!tied) slots.push_back(lm_head);
  return slots;
}

void for_each_target(
    std::span<const WeightSlot> slots, ModelWeights* weights,
    const std::function<void(const WeightTarget& target, std::span<const WeightSlot> slots)>& visit) {
  for (size_t begin = 0; begin < slots.size();) {
    const WeightTarget target = slots[begin].target(*weights, slots[begin].layer);
    size_t end = begin + 1;
    while (target.product != nullptr && end < slots.size() &&
           slots[end].target(*weights, slots[end].layer).product == target.product)
      ++end;
    visit(target, slots.subspan(begin, end - begin));
    begin = end;
  }
}

}  // namespace seer
