// Decides which pages of a sequence may be kept, shared and found again, from what their contents depend on.
// The chapter "What a page's contents depend on" of engine/DESIGN.md explains the rules.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/src/prefix_cache.h"
#include "kernels/block_mask.h"
#include "kernels/paged_kv.h"
#include "seer/sparse.h"

namespace seer {

// How prompts are computed. This is the same for all sequences of an engine.
struct PrefillTraits {
  int64_t page_tokens = 0;
  bool last_block_dense = false;  // whether sparse rules leave the last block rows of a prompt dense
  bool positions_depend_on_length = false;  // dynamic RoPE: pages serve prompts of one length only
};

// The rules under which a request computes its sequence.
struct SequenceRules {
  SequenceRules(const SparseRule& prompt_ = {},
                bool sparse_decodes_ = false)  // NOLINT: a rule for the prompt alone
      : prompt(prompt_), sparse_decodes(sparse_decodes_) {}
  SparseRule prompt;
  bool sparse_decodes;  // whether decoded tokens attend to chosen blocks
};

// Remembers the prompt of a sequence that was prefilled last. The sequence's tokens after the prompt were
// decoded, and have no keys of the gates for prompts. Counts are of a sequence's leading tokens or pages.
class PageReuse {
 public:
  explicit PageReuse(const PrefillTraits& traits) : traits_(traits) {}

  // Begins a prompt of n_tokens, which is prefilled under rules.prompt. If `share_pages` is true, its pages
  // may be shared with other requests in both directions.
  void begin(const SequenceRules& rules, int64_t n_tokens, bool share_pages);
  // Forgets the prompt.
  void clear() { begin({}, 0, false); }

  // Returns how many of n_computed tokens can be kept for a new prompt: those whose keys and values equal the
  // ones that one prefill of n_tokens under `rule` would put into the pages. Must be called before begin() of
  // that prompt.
  int64_t reusable(const SparseRule& rule, int64_t n_tokens, int64_t n_computed) const;
  // Returns how many pages of a sequence of n_tokens other prompts may use.
  int64_t n_shareable_pages(int64_t n_tokens) const;
  // Returns the key of these pages: the properties that their contents depend on besides their tokens.
  PrefixKey key() const;

  // Returns the end of the run of tokens that a prefill may compute from n_computed on. It is n_computed if
  // the next token must be decoded, because a prefill begins on a page boundary.
  int64_t prefill_end(int64_t n_tokens, int64_t n_computed) const;
  // Returns whether the run that begins at n_computed lies in a prompt under a sparse rule. Otherwise it is
  // dense.
  bool in_sparse_prompt(int64_t n_computed) const { return select_ && n_computed < prompt_tokens_; }

  const PrefillTraits& traits() const { return traits_; }
  SequenceRules rules() const { return {rule_, sparse_decodes_}; }
  int64_t n_pages_for(int64_t n_tokens) const { return blocks_of(n_tokens, traits_.page_tokens); }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  // Returns the rule in the form that the prompt's gates use; it is absent if the prompt is dense.
  const std::optional<SelectRule>& select() const { return select_; }

 private:
  // Returns how many of n_tokens leading tokens were computed as a dense prefill would compute them. The
  // prompt must have been dense.
  int64_t n_dense(int64_t n_tokens) const {
    return sparse_decodes_ && n_tokens > prompt_tokens_ ? prompt_tokens_ : n_tokens;
  }
  std::optional<SelectRule> select_for(const SparseRule& rule, int64_t n_tokens) const;

  PrefillTraits traits_;
  SparseRule rule_;
  std::optional<SelectRule> select_;
  int64_t prompt_tokens_ = 0;
  bool shares_pages_ = false;
  bool sparse_decodes_ = false;
};

}  // namespace seer
