// One conversation's tokens, its KV pages, and how far each is computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/src/prefix_cache.h"
#include "seer/sparse.h"

namespace seer {

// How prompts are computed; the same for all sequences of an engine.
struct PrefillTraits {
  int64_t page_tokens = 0;
  bool last_block_dense = false;            // sparse rules: the last two block rows of a prompt are dense
  bool positions_depend_on_length = false;  // dynamic RoPE: nothing of one length serves another
};

// Its pages are a state of their own: they may be taken away at any time between steps, and computed again
// from the tokens to the same contents (see resume).
class Sequence {
 public:
  Sequence(PrefixCache* pages, const PrefillTraits& traits) : pages_(pages), traits_(traits) {}
  ~Sequence() { clear(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t n_computed() const { return n_computed_; }  // leading tokens whose keys and values lie in the pages
  int64_t n_pages() const { return static_cast<int64_t>(page_table_.size()); }
  int64_t n_pages_for(int64_t n_tokens) const {
    return (n_tokens + traits_.page_tokens - 1) / traits_.page_tokens;
  }
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
  // there.
  int64_t begin_prefill(const SparseRule& rule, bool share);
  // Takes the pages away and keeps the tokens.
  void give_up_pages();
  // After give_up_pages: begins to compute the same state again. The prompt goes under its rule as it did;
  // what was decoded behind it was dense, and will be. Returns how much of it the cache still had.
  int64_t resume();

  // Where the run of tokens ends that a prefill may compute from n_computed() on, n_computed() where the next
  // token must be decoded. A prefill begins on a page boundary.
  int64_t prefill_end() const;
  bool prefilling() const { return prefill_end() > n_computed_; }
  // The run lies in a prompt under a sparse rule (else it is dense), whose length is prompt_tokens().
  bool in_sparse_prompt() const;
  int64_t prompt_tokens() const { return prompt_tokens_; }
  const SparseRule& rule() const { return rule_; }
  const PrefillTraits& traits() const { return traits_; }

  // n more tokens lie in the pages. Pages that are full now are cached where others may use them.
  void computed(int64_t n);
  // Forgets the tokens from n on.
  void truncate(int64_t n);
  // Forgets tokens that were not computed, and the pages beyond.
  void drop_uncomputed() { truncate(n_computed_); }
  void clear();

 private:
  int64_t reusable(const SparseRule& rule) const;
  bool dense() const { return rule_.method == SparseRule::Method::kDense; }
  int64_t n_shareable_pages() const;  // leading pages whose contents other prompts may need
  PrefixKey key() const;
  int32_t last_shared() const {
    return n_shared_ == 0 ? PrefixCache::kRoot : page_table_[static_cast<size_t>(n_shared_ - 1)];
  }
  std::span<const int32_t> page_ids(int64_t page) const {
    return std::span(tokens_).subspan(static_cast<size_t>(page * traits_.page_tokens),
                                      static_cast<size_t>(traits_.page_tokens));
  }
  void share_full_pages();
  void take_cached_pages();
  void drop_pages(int64_t n_kept);

  PrefixCache* pages_;
  PrefillTraits traits_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> page_table_;
  int64_t n_computed_ = 0;
  int64_t n_shared_ = 0;  // leading pages of the table that the cache holds too
  // Of the last prefill; what lies behind prompt_tokens_ was decoded, densely and without gate keys.
  SparseRule rule_;
  bool share_ = false;
  int64_t prompt_tokens_ = 0;
};

}  // namespace seer
