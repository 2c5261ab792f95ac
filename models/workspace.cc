#include "models/workspace.h"

#include <algorithm>
#include <string>

#include "seer/error.h"

namespace seer {
namespace {

// Up to this many rows of a step that decodes, the summands are float32 even if ranks do not reach one
// another's memory: an all-reduce of so few rows takes no longer for twice the bytes.
constexpr int64_t kSummandRows = 64;

std::string too_large(int64_t n_tokens) {
  return "the activations of a step of " + std::to_string(n_tokens) +
         " tokens are beyond the address space. Use a smaller --chunk-size.";
}

bool may_reach_peers(DType dtype, const Shard& shard) { return shard.size > 1 && dtype != DType::kF32; }

}  // namespace

Workspace::Workspace(Backend* backend, Communicator* comm, const Shard& shard, const GateConfigs& gates,
                     const StepLimits& limits) {
  const DType dtype = backend->activation_dtype();
  const int64_t n = limits.n_tokens;
  if (may_reach_peers(dtype, shard)) {
    const auto take_shared = [&](Arena* arena) {
      take_stream(arena, dtype, shard.local, n);
      take_summands(arena, shard.local, n);
    };
    void* shared = comm->share_memory(Arena::measure(too_large(n), take_shared));
    reaches_peers_ = shared != nullptr;
    Arena arena(too_large(n), shared);
    if (reaches_peers_) take_shared(&arena);
  }
  arena_ = Arena::allocate(backend, "the activations of a step", too_large(n), [&](Arena* arena) {
    if (!reaches_peers_) {
      take_stream(arena, dtype, shard.local, n);
      large_summand_ = inbox_ = {};
      if (may_reach_peers(dtype, shard))
        small_summands_[0] = arena->take(DType::kF32, {std::min(n, kSummandRows), shard.local.d_model});
    }
    take_rest(arena, dtype, shard, gates, limits);
  });
}

int64_t Workspace::arena_bytes(const Backend& backend, const Shard& shard, const GateConfigs& gates,
                               const StepLimits& limits) {
  const DType dtype = backend.activation_dtype();
  Workspace sizes;
  return Arena::measure(too_large(limits.n_tokens), [&](Arena* arena) {
    sizes.take_stream(arena, dtype, shard.local, limits.n_tokens);
    if (may_reach_peers(dtype, shard)) sizes.take_summands(arena, shard.local, limits.n_tokens);
    sizes.take_rest(arena, dtype, shard, gates, limits);
  });
}

Tensor Workspace::summand(int64_t row, int64_t n_rows) {
  if (!reaches_peers_) {
    const Tensor& small = small_summands_[0];
    return small && n_rows <= small.dim(0) ? small.rows(0, n_rows) : Tensor();
  }
  if (n_rows > small_summands_[0].dim(0)) return large_summand_.rows(row, n_rows);
  turn_ ^= 1U;
  return small_summands_[turn_].rows(0, n_rows);
}

void Workspace::take_stream(Arena* arena, DType dtype, const ModelConfig& model, int64_t n_tokens) {
  x = arena->take(dtype, {n_tokens, model.d_model});
  h = arena->take(dtype, {n_tokens, model.d_model});
}

void Workspace::take_summands(Arena* arena, const ModelConfig& model, int64_t n_tokens) {
  const int64_t n_small =
      std::min(n_tokens, std::max<int64_t>(1, Communicator::kSmallSummand / model.d_model));
  for (Tensor& small : small_summands_) small = arena->take(DType::kF32, {n_small, model.d_model});
  large_summand_ = arena->take(DType::kF32, {n_tokens, model.d_model});
  inbox_ = arena->take(DType::kF32, {n_tokens, model.d_model});
}

void Workspace::take_rest(Arena* arena, DType dtype, const Shard& shard, const GateConfigs& gates,
                          const StepLimits& limits) {
  const ModelConfig& model = shard.local;
  const auto take = [arena](DType type, std::initializer_list<int64_t> shape) {
    return arena->take(type, shape);
  };
  const int64_t n = limits.n_tokens, d_q = model.n_heads * model.d_head, half = model.d_head / 2;
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
  }
  rope = {take(DType::kF32, {n, half}), take(DType::kF32, {n, half})};
  if (!gates.block()) return;
  // Every prefill segment of a step may end in a partial block, and every decode has a row for its own block.
  const int64_t n_rows = n / limits.page_tokens + limits.n_sequences;
  block_rope = {take(DType::kF32, {n_rows, half}), take(DType::kF32, {n_rows, half})};
  if (gates.decode != nullptr) {
    within_rope = {take(DType::kF32, {limits.page_tokens, half}),
                   take(DType::kF32, {limits.page_tokens, half})};
    const int64_t n_lists = model.n_kv_heads * limits.n_sequences;
    decode_counts = take(DType::kI32, {model.n_layers, n_lists});
    decode_blocks = take(DType::kI32, {n_lists, limits.n_blocks});
  }
  const GateConfig* gate = gates.prefill;
  if (gate == nullptr) return;
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
