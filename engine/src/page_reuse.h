// What the contents of a sequence's pages depend on, and so which of them may be kept, shared and found
// again: the code beside the chapter "What a page's contents depend on" of engine/DESIGN.md.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/src/prefix_cache.h"
#include "kernels/block_mask.h"
#include "seer/sparse.h"

namespace seer {

// How prompts are computed; the same for all sequences of an engine.
struct PrefillTraits {
  int64_t page_tokens = 0;
  bool last_block_dense = false;            // sparse rules: the last block rows of a prompt are dense
  bool positions_depend_on_length = false;  // dynamic RoPE: nothing of one length serves another
};

// Of the prompt that was prefilled last. Tokens beyond it were decoded, densely and without gate keys. Counts
// are of a sequence's leading tokens or pages.
class PageReuse {
 public:
  explicit PageReuse(const PrefillTraits& traits) : traits_(traits) {}

  // A prompt of n_tokens goes under `rule`; with `share` its pages may be other requests', and theirs its.
  void begin(const SparseRule& rule, int64_t n_tokens, bool share);
  // No prompt.
  void clear() { begin(SparseRule{}, 0, false); }

  // Of n_computed tokens, those whose keys and values are what one prefill of n_tokens under `rule` would put
  // into the pages. Asked before begin().
  int64_t reusable(const SparseRule& rule, int64_t n_tokens, int64_t n_computed) const;
  // Pages whose contents other prompts may need, of a sequence of n_tokens.
  int64_t n_shareable_pages(int64_t n_tokens) const;
  // What these depend on beside their tokens.
  PrefixKey key() const;

  // Where the run of tokens ends that a prefill may compute from n_computed on, n_computed where the next
  // token must be decoded. A prefill begins on a page boundary.
  int64_t prefill_end(int64_t n_tokens, int64_t n_computed) const;
  // The run lies in a prompt under a sparse rule; else it is dense.
  bool in_sparse_prompt(int64_t n_computed) const { return select_ && n_computed < prompt_tokens_; }

  const PrefillTraits& traits() const { return traits_; }
  int64_t n_pages_for(int64_t n_tokens) const {
    return (n_tokens + traits_.page_tokens - 1) / traits_.page_tokens;
  }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  // As it is followed in the prompt; absent where that is dense.
  const std::optional<SelectRule>& select() const { return select_; }

 private:
  std::optional<SelectRule> select_for(const SparseRule& rule, int64_t n_tokens) const;

  PrefillTraits traits_;
  SparseRule rule_;
  std::optional<SelectRule> select_;
  int64_t prompt_tokens_ = 0;
  bool share_ = false;
};

}  // namespace seer
