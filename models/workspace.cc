#include "models/workspace.h"

#include <algorithm>
#include <string>

#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kPartialRows =
    64;  // of a step that decodes: where twice the bytes cost an all-reduce nothing
constexpr int64_t kAlignment = 256;  // of every tensor: whole cache lines, and what GPUs copy fastest

}  // namespace

Workspace::Workspace(Backend* backend, const Shard& shard, const GateConfig* gate, const StepLimits& limits)
    : Workspace(backend->activation_dtype(),
                backend->allocate(arena_bytes(*backend, shard, gate, limits), "the activations of a step"),
                shard, gate, limits) {}

int64_t Workspace::arena_bytes(const Backend& backend, const Shard& shard, const GateConfig* gate,
                               const StepLimits& limits) {
  return Workspace(backend.activation_dtype(), nullptr, shard, gate, limits).used_;
}

// With no arena only the sizes come out right.
Workspace::Workspace(DType dtype, Buffer arena, const Shard& shard, const GateConfig* gate,
                     const StepLimits& limits)
    : arena_(std::move(arena)) {
  const ModelConfig& model = shard.local;
  const auto take = [&](DType type, std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, type, shape);
    int64_t bytes = dtype_bytes(type);
    bool too_large = false;
    for (int i = 0; i < t.rank; ++i) too_large = too_large || __builtin_mul_overflow(bytes, t.dim(i), &bytes);
    too_large = too_large || __builtin_add_overflow(bytes, kAlignment - 1, &bytes);
    bytes = bytes / kAlignment * kAlignment;
    if (arena_) t.data = static_cast<char*>(arena_.get()) + used_;
    if (too_large || __builtin_add_overflow(used_, bytes, &used_))
      throw Error(ErrorKind::kMemory,
                  "the activations of a step of " + std::to_string(limits.n_tokens) +
                      " tokens are beyond the address space. Use a smaller --chunk-size.");
    return t;
  };
  const int64_t n = limits.n_tokens, d_q = model.n_heads * model.d_head, half = model.d_head / 2;
  x = take(dtype, {n, model.d_model});
  h = take(dtype, {n, model.d_model});
  qkv = take(dtype, {n, d_q + 2 * model.n_kv_heads * model.d_head});
  q = take(dtype, {n, model.n_heads, model.d_head});
  attn = take(dtype, {n, model.n_heads, model.d_head});
  gate_up = take(dtype, {n, 2 * model.d_ff});
  act = take(dtype, {n, model.d_ff});
  needed = take(dtype, {n, d_q});
  if (shard.rank == 0) logits = take(DType::kF32, {limits.n_logits, model.n_vocab});
  if (shard.size > 1) {
    local_logits = take(DType::kF32, {limits.n_logits * shard.n_ids()});
    if (shard.rank == 0) gathered_logits = take(DType::kF32, {limits.n_logits * model.n_vocab});
    if (dtype != DType::kF32) partial = take(DType::kF32, {std::min(n, kPartialRows), model.d_model});
  }
  rope = {take(DType::kF32, {n, half}), take(DType::kF32, {n, half})};
  if (gate == nullptr) return;
  // Every prefill segment of a step may end in a partial block.
  const int64_t n_rows = n / limits.page_tokens + limits.n_sequences;
  block_rope = {take(DType::kF32, {n_rows, half}), take(DType::kF32, {n_rows, half})};
  pooled.q_pools = gate->q;
  pooled.k_pools = gate->k;
  pooled.q = take(dtype, {n_rows, model.n_heads, gate->q.count() * model.d_head});
  pooled.k = take(dtype, {n_rows, model.n_kv_heads, gate->k.count() * model.d_head});
  pooled.projected =
      take(DType::kF32, {n_rows, std::max(model.n_heads, gate->n_gate_heads(model)), gate->d_gate});
  gate_q = take(dtype, {n_rows, model.n_heads, gate->d_gate});
  kept_counts = take(DType::kI32, {model.n_layers, model.n_heads * n_rows});
  kept_blocks = take(DType::kI32, {model.n_heads, n_rows, limits.n_blocks});
  kept_blocks = kept_blocks.reshaped({kept_blocks.numel()});
}

}  // namespace seer
