// Copies pages of a rank's pool to bytes on the host and back, so that their contents can outlive the pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernels/backend.h"
#include "models/kv_cache.h"

namespace seer {

// The image of a page has, for each layer: keys and values [n_kv_heads, page_tokens, d_head] each, then the
// keys of the gates for prompts [n_gate_heads, d_gate] and of the gates for decoding [n_kv_heads, d_gate] if
// the model has such gates. All lie as in the pool, in the pool's types, without gaps.
class PageImages {
 public:
  // Both must outlive it.
  PageImages(Backend* backend, const KvCache* cache);

  int64_t image_bytes() const { return image_bytes_; }  // as KvCache::page_bytes()
  // Copies pages[i] to out + i * stride. Returns when the copies are done. The caller of this and of write()
  // must be the one that may use the backend.
  void read(std::span<const int64_t> pages, std::byte* out, int64_t stride) const;
  // Copies images + i * stride to pages[i].
  void write(std::span<const int64_t> pages, const std::byte* images, int64_t stride) const;
  // Makes an object that copies images while another thread runs steps.
  std::unique_ptr<RecordCopier> make_copier() const;
  int64_t n_layers() const { return n_layers_; }
  // Returns which parts, of those that the copier has, belong to the layers [begin, end).
  PartRange parts_of_layers(int64_t begin, int64_t end) const {
    return {static_cast<size_t>(begin) * parts_per_layer_, static_cast<size_t>(end) * parts_per_layer_};
  }
  // Sets to zero the parts of an image that the page's sequence has not written, which may hold what an
  // earlier owner of the page has left: the slots from n_tokens on, the key of the gates for decoding unless
  // the page is full, and the keys of the gates for prompts unless `gated` says that they were computed.
  void clear_unused(std::byte* image, int64_t n_tokens, bool gated) const;

 private:
  // Calls visit(tensor of the pool, its first byte in an image) for each part of an image.
  void for_parts(const std::function<void(const Tensor&, int64_t)>& visit) const;

  Backend* backend_;
  const KvCache* cache_;
  int64_t n_layers_, image_bytes_ = 0;
  size_t parts_per_layer_ = 0;
};

}  // namespace seer
