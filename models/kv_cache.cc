#include "models/kv_cache.h"

#include <string>

#include "seer/error.h"

namespace seer {

int64_t KvCache::page_bytes(const Backend& backend, const ModelConfig& model, const GateConfig* gate,
                            int64_t page_tokens) {
  const int64_t keys_and_values = 2 * model.n_kv_heads * page_tokens * model.d_head;
  const int64_t gate_keys = gate == nullptr ? 0 : gate->n_gate_heads(model) * gate->d_gate;
  return model.n_layers * (keys_and_values + gate_keys) * dtype_bytes(backend.activation_dtype());
}

KvCache::KvCache(Backend* backend, const ModelConfig& model, const GateConfig* gate, int64_t page_tokens,
                 int64_t n_pages)
    : n_pages_(n_pages), page_tokens_(page_tokens) {
  const DType dtype = backend->activation_dtype();
  const auto allocate = [&](std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    int64_t bytes = dtype_bytes(dtype);
    for (int i = 0; i < t.rank; ++i)
      if (__builtin_mul_overflow(bytes, t.dim(i), &bytes))
        throw Error(ErrorKind::kMemory, "a KV cache of " + std::to_string(n_pages) + " pages of " +
                                            std::to_string(page_tokens) +
                                            " tokens is beyond the address space. Use a smaller --ctx-size.");
    buffers_.push_back(
        backend->allocate(bytes, "the KV cache (" + std::to_string(n_pages * page_tokens) + " tokens)"));
    t.data = buffers_.back().get();
    nbytes_ += bytes;
    return t;
  };
  for (int64_t l = 0; l < model.n_layers; ++l) {
    PagedKv kv;
    kv.k = allocate({n_pages, model.n_kv_heads, page_tokens, model.d_head});
    kv.v = allocate({n_pages, model.n_kv_heads, page_tokens, model.d_head});
    if (gate != nullptr) kv.gate_k = allocate({n_pages, gate->n_gate_heads(model), gate->d_gate});
    layers_.push_back(kv);
  }
}

}  // namespace seer
