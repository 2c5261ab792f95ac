#include "models/workspace.h"

#include "seer/error.h"

namespace seer {

Workspace::Workspace(Backend* backend, const ModelConfig& model, const GateConfig* gate,
                     const StepLimits& limits) {
  const auto allocate = [&](DType dtype, std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    int64_t bytes = dtype_bytes(dtype);
    for (int i = 0; i < t.rank; ++i)
      if (__builtin_mul_overflow(bytes, t.dim(i), &bytes))
        throw Error(ErrorKind::kMemory,
                    "the activations of a step of " + std::to_string(limits.n_tokens) +
                        " tokens are beyond the address space. Use a smaller --chunk-size.");
    buffers.push_back(backend->allocate(bytes, "the activations of a step"));
    t.data = buffers.back().get();
    return t;
  };
  const DType dtype = backend->activation_dtype();
  const int64_t n = limits.n_tokens, d_q = model.n_heads * model.d_head, half = model.d_head / 2;
  x = allocate(dtype, {n, model.d_model});
  h = allocate(dtype, {n, model.d_model});
  qkv = allocate(dtype, {n, d_q + 2 * model.n_kv_heads * model.d_head});
  q = allocate(dtype, {n, model.n_heads, model.d_head});
  attn = allocate(dtype, {n, model.n_heads, model.d_head});
  gate_up = allocate(dtype, {n, 2 * model.d_ff});
  act = allocate(dtype, {n, model.d_ff});
  needed = allocate(dtype, {n, d_q});
  logits = allocate(DType::kF32, {limits.n_logits, model.n_vocab});
  rope = {allocate(DType::kF32, {n, half}), allocate(DType::kF32, {n, half})};
  if (gate == nullptr) return;
  // Every prefill segment of a step may end in a partial block.
  const int64_t n_rows = n / limits.page_tokens + limits.n_sequences;
  block_rope = {allocate(DType::kF32, {n_rows, half}), allocate(DType::kF32, {n_rows, half})};
  gate_q = allocate(dtype, {n_rows, model.n_heads, gate->d_gate});
  kept_counts = allocate(DType::kI32, {model.n_layers, model.n_heads * n_rows});
  kept_blocks = allocate(DType::kI32, {model.n_heads, n_rows, limits.n_blocks});
  kept_blocks = kept_blocks.reshaped({kept_blocks.numel()});
}

}  // namespace seer
