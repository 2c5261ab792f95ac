// The paged KV cache as kernels see it: one layer's pages, and the runs of new tokens that a step adds to
// sequences.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/tensor.h"

namespace seer {

// Returns how many pages, or gate blocks, n tokens take.
constexpr int64_t blocks_of(int64_t n_tokens, int64_t page_tokens) {
  return (n_tokens + page_tokens - 1) / page_tokens;
}

// One layer. A page is one gate block of one sequence, so a selected block index is a page-table index.
// Keys and values have the same type, one of Backend::kv_dtypes(); gate keys have the type of activations.
struct PagedKv {
  Tensor k;       // [n_pages, n_kv_heads, page_tokens, d_head], after RoPE
  Tensor v;       // [n_pages, n_kv_heads, page_tokens, d_head]
  Tensor gate_k;  // [n_pages, n_gate_heads, d_gate], after RoPE; empty without gates
  // [n_pages, n_kv_heads, d_gate]: the keys of gates for decoding. Only a full page has one. The tensor is
  // empty if the model has no such gates.
  Tensor decode_gate_k = {};

  int64_t n_kv_heads() const { return k.dim(1); }
  int64_t page_tokens() const { return k.dim(2); }
  int64_t d_head() const { return k.dim(3); }
  // Return the address of slot 0 of a head in a page: [page_tokens, d_head] of the pages' type.
  void* k_head(int64_t page, int64_t head) const { return head_of(k, page, head); }
  void* v_head(int64_t page, int64_t head) const { return head_of(v, page, head); }

 private:
  static void* head_of(const Tensor& t, int64_t page, int64_t head) {
    const int64_t bytes = t.dim(2) * t.dim(3) * dtype_bytes(t.dtype);
    return static_cast<char*>(t.data) + (page * t.dim(1) + head) * bytes;
  }
};

// Consecutive new tokens of one sequence, rows [row, row + n_tokens) of the step's token axis.
struct Segment {
  int64_t row = 0;
  int64_t n_tokens = 0;
  int64_t start = 0;  // position of the first new token; a prefill starts on a page boundary
  // [ceil((start + n_tokens) / page_tokens)]: block index to page id. In a decode's table, -1 means that
  // another rank has the page; the token's key and value are then not stored here.
  const int32_t* page_table = nullptr;

  int64_t end() const { return start + n_tokens; }
};

// One forward step: prefill segments first, then the segments that decode one token each.
struct Step {
  int64_t n_tokens = 0;
  std::span<const Segment> prefills;
  std::span<const Segment> decodes;
};

}  // namespace seer
