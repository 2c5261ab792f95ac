// One conversation's tokens and KV pages, and how many of the tokens are computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/src/page_reuse.h"
#include "engine/src/prefix_cache.h"
#include "engine/src/tiers/page_name.h"
#include "seer/sparse.h"

namespace seer {

// What a sequence is besides its tokens and the contents of its pages. With these three, it can go on in
// another process with the same results.
struct SequenceState {
  SequenceRules rules;  // of the last prompt
  int64_t prompt_tokens = 0;
  int64_t n_computed = 0;
};

// What those who keep pages must know about a page besides its name.
struct PageFacts {
  int64_t first_token = 0;
  bool sparse = false;  // computed under a sparse rule, so that it has keys of the gates for prompts
};

// Gets the pages that become shared, to keep their contents in other places.
class PageSaver {
 public:
  virtual ~PageSaver() = default;
  // Returns the name that stands before the first page of sequences whose pages have this key.
  virtual PageName root(const PrefixKey& key) = 0;
  // `page` is full now, and was added to the prefix cache. Its contents stay the same until it is evicted.
  virtual void filled(int32_t page, const PageName& name, const PageFacts& facts) = 0;
};

// The pages may be taken away between any two steps. They can be computed again from the tokens, with the
// same contents (see resume()).
class Sequence {
 public:
  // `saver` may be null; if not, it must outlive the sequence.
  Sequence(PrefixCache* pages, const PrefillTraits& traits, PageSaver* saver = nullptr)
      : pages_(pages), saver_(saver), reuse_(traits) {}
  ~Sequence() { clear(); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int64_t n_tokens() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t n_computed() const { return n_computed_; }  // leading tokens whose keys and values lie in the pages
  int64_t n_pages() const { return static_cast<int64_t>(page_table_.size()); }
  int64_t n_pages_for(int64_t n_tokens) const { return reuse_.n_pages_for(n_tokens); }
  // Returns how many more pages of `owner` (a rank, see PageLayout) the first n tokens need.
  int64_t n_missing(int64_t n_tokens, int64_t owner) const {
    const PageLayout& layout = pages_->layout();
    return std::max<int64_t>(
        0, layout.n_blocks_of(n_pages_for(n_tokens), owner) - layout.n_blocks_of(n_pages(), owner));
  }
  const int32_t* page_table() const { return page_table_.data(); }

  void append(int32_t token) { tokens_.push_back(token); }
  void append(std::span<const int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  // Takes pages for the first n tokens. Returns false if the pool has no more; the pages taken so far are
  // kept for the next try.
  bool reserve(int64_t n_tokens);

  // Begins the prefill of all tokens under the prompt's rule. Returns how many leading tokens need not be
  // computed, because whole pages hold the same contents as one prefill of all tokens would put there. These
  // are the sequence's own pages and, with `share_pages`, cached ones. With `whole` there are none, so that
  // every token is computed: logits of the whole prompt need that.
  int64_t begin_prefill(const SequenceRules& rules, bool share_pages, bool whole = false);
  // Takes the pages away and keeps the tokens.
  void give_up_pages();
  // Must be called after give_up_pages(). Begins to compute the same state again: the prompt under its rule,
  // and the tokens that were decoded after it under the rule for decoding. Returns how many tokens the cache
  // still had.
  int64_t resume();

  SequenceState state() const { return {reuse_.rules(), reuse_.prompt_tokens(), n_computed_}; }
  // Begins to bring back a saved sequence. This one must be empty. Afterwards the caller must reserve and
  // fill its pages, and call computed(state.n_computed).
  void begin_restore(std::span<const int32_t> tokens, const SequenceState& state);

  // Returns the end of the run of tokens that a prefill may compute from n_computed() on. It is n_computed()
  // if the next token must be decoded, because a prefill begins on a page boundary.
  int64_t prefill_end() const { return reuse_.prefill_end(n_tokens(), n_computed_); }
  bool prefilling() const { return prefill_end() > n_computed_; }
  // Returns whether the run lies in a prompt under a sparse rule, whose length is prompt_tokens(). Otherwise
  // it is dense.
  bool in_sparse_prompt() const { return reuse_.in_sparse_prompt(n_computed_); }
  int64_t prompt_tokens() const { return reuse_.prompt_tokens(); }
  // Returns the rule of that prompt; absent if it is dense.
  const std::optional<SelectRule>& select() const { return reuse_.select(); }

  // The pages [n_shared(), n_restorable()) could be brought back from a tier: others may use them, no table
  // has them yet, and the last token, which is always computed, is not in them. There are none without a
  // saver.
  int64_t n_shared() const { return n_shared_; }
  int64_t n_restorable() const;
  const PageName& name(int64_t page);  // of a page below n_restorable()
  PageFacts facts(int64_t page) const;

  // Must be called when the keys and values of n more tokens lie in the pages. Pages that are full now are
  // cached, if others may use them.
  void computed(int64_t n);
  // Counts n more tokens as computed although another thread is still filling their pages. Steps of this
  // sequence wait for that thread, but steps of other sequences would not. So the pages are not cached yet;
  // the next call of computed() does it, which must come when they have their contents.
  void expect(int64_t n) { n_computed_ += n; }
  // Gives up the pages that are not cached, and no longer counts their tokens as computed. Must be called if
  // expected pages do not get their contents.
  void give_up_expected();
  // Forgets the tokens from n on.
  void truncate(int64_t n);
  // Forgets tokens that were not computed, and the pages after the computed ones.
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
  PageSaver* saver_;
  PageReuse reuse_;  // of the last prefill
  std::vector<int32_t> tokens_;
  std::vector<int32_t> page_table_;
  int64_t n_computed_ = 0;
  int64_t n_shared_ = 0;         // leading pages of the table that the cache holds too
  std::vector<PageName> names_;  // of leading pages, as far as they were asked for, under names_key_
  PrefixKey names_key_;
};

}  // namespace seer
