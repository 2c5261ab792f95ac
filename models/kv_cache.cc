#include "models/kv_cache.h"

#include <string>

#include "models/arena.h"

namespace seer {

int64_t KvCache::page_bytes(const Backend& backend, const ModelConfig& model, const GateConfigs& gates,
                            int64_t page_tokens, DType dtype) {
  const int64_t keys_and_values = 2 * model.n_kv_heads * page_tokens * model.d_head;
  int64_t gate_keys = 0;
  if (gates.prefill != nullptr) gate_keys += gates.prefill->n_gate_heads(model) * gates.prefill->d_gate;
  if (gates.decode != nullptr) gate_keys += model.n_kv_heads * gates.decode->d_gate;
  return model.n_layers *
         (keys_and_values * dtype_bytes(dtype) + gate_keys * dtype_bytes(backend.activation_dtype()));
}

KvCache::KvCache(Backend* backend, const ModelConfig& model, const GateConfigs& gates, int64_t page_tokens,
                 int64_t n_pages, DType dtype)
    : n_pages_(n_pages), page_tokens_(page_tokens), dtype_(dtype) {
  const DType gate_dtype = backend->activation_dtype();
  const std::string size = std::to_string(n_pages) + " pages of " + std::to_string(page_tokens) + " tokens";
  const std::string purpose = "the KV cache of " + size;
  const std::string too_large =
      "a KV cache of " + size + " is beyond the address space. Use a smaller --ctx-size.";
  for (int64_t l = 0; l < model.n_layers; ++l) {
    PagedKv kv;
    buffers_.push_back(Arena::allocate(backend, purpose, too_large, [&](Arena* arena) {
      kv.k = arena->take(dtype, {n_pages, model.n_kv_heads, page_tokens, model.d_head});
      kv.v = arena->take(dtype, {n_pages, model.n_kv_heads, page_tokens, model.d_head});
      if (gates.prefill != nullptr)
        kv.gate_k =
            arena->take(gate_dtype, {n_pages, gates.prefill->n_gate_heads(model), gates.prefill->d_gate});
      if (gates.decode != nullptr)
        kv.decode_gate_k = arena->take(gate_dtype, {n_pages, model.n_kv_heads, gates.decode->d_gate});
    }));
    for (const Tensor& t : {kv.k, kv.v, kv.gate_k, kv.decode_gate_k}) nbytes_ += t ? t.nbytes() : 0;
    layers_.push_back(kv);
  }
}

}  // namespace seer
