// One conversation's tokens, its KV pages, and how far each is computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/src/page_reuse.h"
#include "engine/src/prefix_cache.h"
#include "seer/sparse.h"

namespace seer {

// Its pages are a state of their own: they may be taken away at any time between steps, and computed again
// from the tokens to the same contents (see resume).
class Sequence {
 public:
  Sequence(PrefixCache* pages, const PrefillTraits& traits) : pages_(pages), reuse_(traits) {}
  ~Sequence() { clear(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t n_computed() const { return n_computed_; }  // leading tokens whose keys and values lie in the pages
  int64_t n_pages() const { return static_cast<int64_t>(page_table_.size()); }
  int64_t n_pages_for(int64_t n_tokens) const { return reuse_.n_pages_for(n_tokens); }
  // Pages of `owner` that the first n tokens need beside those that are held.
  int64_t n_missing(int64_t n_tokens, int64_t owner) const {
    const PageLayout& layout = pages_->layout();
    return std::max<int64_t>(0, layout.share(n_pages_for(n_tokens), owner) - layout.share(n_pages(), owner));
  }
  const int32_t* page_table() const { return page_table_.data(); }

  void append(int32_t token) { tokens_.push_back(token); }
  void append(std::span<const int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  // Pages for the first n tokens. False where the pool has no more; pages got before are kept for the next
  // try.
  bool reserve(int64_t n_tokens);

  // Begins the prefill of all tokens under `rule`. Returns how many leading tokens need not be computed:
  // whole pages, own or (with share) cached, that hold what a prefill of all tokens in one shot would put
  // there. With `whole` that is none: every token is computed, which logits of the whole prompt need.
  int64_t begin_prefill(const SparseRule& rule, bool share, bool whole = false);
  // Takes the pages away and keeps the tokens.
  void give_up_pages();
  // After give_up_pages: begins to compute the same state again. The prompt goes under its rule as it did;
  // what was decoded behind it was dense, and will be. Returns how much of it the cache still had.
  int64_t resume();

  // Where the run of tokens ends that a prefill may compute from n_computed() on, n_computed() where the next
  // token must be decoded. A prefill begins on a page boundary.
  int64_t prefill_end() const { return reuse_.prefill_end(n_tokens(), n_computed_); }
  bool prefilling() const { return prefill_end() > n_computed_; }
  // The run lies in a prompt under a sparse rule (else it is dense), whose length is prompt_tokens().
  bool in_sparse_prompt() const { return reuse_.in_sparse_prompt(n_computed_); }
  int64_t prompt_tokens() const { return reuse_.prompt_tokens(); }
  // The rule of that prompt; absent where it is dense.
  const std::optional<SelectRule>& select() const { return reuse_.select(); }

  // n more tokens lie in the pages. Pages that are full now are cached where others may use them.
  void computed(int64_t n);
  // Forgets the tokens from n on.
  void truncate(int64_t n);
  // Forgets tokens that were not computed, and the pages beyond.
  void drop_uncomputed() { truncate(n_computed_); }
  void clear();

 private:
  int32_t last_shared() const {
    return n_shared_ == 0 ? PrefixCache::kRoot : page_table_[static_cast<size_t>(n_shared_ - 1)];
  }
  std::span<const int32_t> page_ids(int64_t page) const {
    return std::span(tokens_).subspan(static_cast<size_t>(page * page_tokens()),
                                      static_cast<size_t>(page_tokens()));
  }
  int64_t page_tokens() const { return reuse_.traits().page_tokens; }
  void share_full_pages();
  void take_cached_pages();
  void drop_pages(int64_t n_kept);

  PrefixCache* pages_;
  PageReuse reuse_;  // of the last prefill
  std::vector<int32_t> tokens_;
  std::vector<int32_t> page_table_;
  int64_t n_computed_ = 0;
  int64_t n_shared_ = 0;  // leading pages of the table that the cache holds too
};

}  // namespace seer
