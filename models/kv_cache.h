// The storage of the paged KV cache: for each layer, a pool of pages of keys, values and gate keys. The
// engine decides which sequence owns which page.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "models/config.h"
#include "models/gates.h"

namespace seer {

class KvCache {
 public:
  // `dtype` is the type of keys and values, one of the backend's kv_dtypes(). Throws Error{kMemory}.
  KvCache(Backend* backend, const ModelConfig& model, const GateConfigs& gates, int64_t page_tokens,
          int64_t n_pages, DType dtype);

  // Returns the bytes of one page in all layers.
  static int64_t page_bytes(const Backend& backend, const ModelConfig& model, const GateConfigs& gates,
                            int64_t page_tokens, DType dtype);

  PagedKv layer(int64_t l) const { return layers_[static_cast<size_t>(l)]; }
  int64_t n_layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t n_pages() const { return n_pages_; }
  int64_t page_tokens() const { return page_tokens_; }
  int64_t nbytes() const { return nbytes_; }
  DType dtype() const { return dtype_; }  // of keys and values

 private:
  int64_t n_pages_, page_tokens_, nbytes_ = 0;
  DType dtype_;
  std::vector<PagedKv> layers_;
  std::vector<Buffer> buffers_;
};

}  // namespace seer
