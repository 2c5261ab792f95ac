// One conversation's tokens, its KV pages, and how far each is computed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/src/page_allocator.h"
#include "seer/sparse.h"

namespace seer {

class Sequence {
 public:
  Sequence(PageAllocator* pages, int64_t page_tokens) : pages_(pages), page_tokens_(page_tokens) {}
  ~Sequence() { clear(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t n_computed() const { return n_computed_; }  // leading tokens whose keys and values lie in the pages
  const int32_t* page_table() const { return page_table_.data(); }

  void append(int32_t token) { tokens_.push_back(token); }
  void append(std::span<const int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  // Pages for the first n tokens. Throws Error{kMemory}; pages got before it are kept for the next try.
  void reserve(int64_t n_tokens);

  // Begins the prefill of all tokens under `rule`. Returns how many leading tokens keep their pages as they
  // are: whole pages that a prefill of all tokens in one shot would fill with the same values.
  int64_t begin_prefill(const SparseRule& rule, bool last_block_dense, bool positions_depend_on_length);
  void computed(int64_t n) { n_computed_ += n; }
  // Forgets tokens that were not computed, and the pages beyond.
  void drop_uncomputed();
  void clear();

 private:
  int64_t reusable(const SparseRule& rule, bool last_block_dense) const;
  size_t pages_for(int64_t n) const { return static_cast<size_t>((n + page_tokens_ - 1) / page_tokens_); }

  PageAllocator* pages_;
  int64_t page_tokens_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> page_table_;
  int64_t n_computed_ = 0;
  // Of the last prefill; what lies behind prefill_end_ was decoded, densely and without gate keys.
  SparseRule rule_;
  bool last_block_dense_ = false;
  int64_t prompt_tokens_ = 0;
  int64_t prefill_end_ = 0;
};

}  // namespace seer
