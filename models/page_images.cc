#include "models/page_images.h"

#include <algorithm>
#include <cassert>
#include <vector>

namespace seer {
namespace {

int64_t row_bytes(const Tensor& pool) { return pool.nbytes() / pool.dim(0); }

}  // namespace

PageImages::PageImages(Backend* backend, const KvCache* cache)
    : backend_(backend), cache_(cache), n_layers_(cache->n_layers()) {
  size_t n_parts = 0;
  for_parts([&](const Tensor& pool, int64_t) {
    image_bytes_ += row_bytes(pool);
    ++n_parts;
  });
  parts_per_layer_ = n_parts / static_cast<size_t>(n_layers_);
}

void PageImages::for_parts(const std::function<void(const Tensor&, int64_t)>& visit) const {
  int64_t at = 0;
  for (int64_t l = 0; l < n_layers_; ++l) {
    const PagedKv kv = cache_->layer(l);
    for (const Tensor& pool : {kv.k, kv.v, kv.gate_k, kv.decode_gate_k}) {
      if (!pool) continue;
      visit(pool, at);
      at += row_bytes(pool);
    }
  }
}

void PageImages::read(std::span<const int64_t> pages, std::byte* out, int64_t stride) const {
  for_parts([&](const Tensor& pool, int64_t at) { backend_->read_rows(out + at, stride, pool, pages); });
}

void PageImages::write(std::span<const int64_t> pages, const std::byte* images, int64_t stride) const {
  for_parts([&](const Tensor& pool, int64_t at) { backend_->write_rows(pool, pages, images + at, stride); });
}

std::unique_ptr<RecordCopier> PageImages::make_copier() const {
  std::vector<RecordPart> parts;
  for_parts([&](const Tensor& pool, int64_t at) { parts.push_back({pool, at}); });
  return backend_->make_record_copier(parts, image_bytes_);
}

void PageImages::clear_unused(std::byte* image, int64_t n_tokens, bool gated) const {
  const int64_t page_tokens = cache_->page_tokens();
  assert(n_tokens >= 0 && n_tokens <= page_tokens);
  int64_t at = 0;
  const auto clear = [&](const Tensor& pool, bool used) {
    if (!pool) return;
    if (!used) std::fill_n(image + at, row_bytes(pool), std::byte{0});
    at += row_bytes(pool);
  };
  const auto clear_slots = [&](const Tensor& pool) {
    const int64_t n_heads = pool.dim(1), head = row_bytes(pool) / n_heads, slot = head / page_tokens;
    for (int64_t h = 0; h < n_heads; ++h)
      std::fill_n(image + at + h * head + n_tokens * slot, (page_tokens - n_tokens) * slot, std::byte{0});
    at += row_bytes(pool);
  };
  for (int64_t l = 0; l < n_layers_; ++l) {
    const PagedKv kv = cache_->layer(l);
    clear_slots(kv.k);
    clear_slots(kv.v);
    clear(kv.gate_k, gated);
    clear(kv.decode_gate_k, n_tokens == page_tokens);
  }
}

}  // namespace seer
