#include "engine/src/page_reuse.h"

#include <algorithm>

#include "engine/src/select_rule.h"

namespace seer {

std::optional<SelectRule> PageReuse::select_for(const SparseRule& rule, int64_t n_tokens) const {
  return select_rule(rule, traits_.last_block_dense, n_pages_for(n_tokens));
}

void PageReuse::begin(const SequenceRules& rules, int64_t n_tokens, bool share_pages) {
  rule_ = rules.prompt;
  sparse_decodes_ = rules.sparse_decodes;
  select_ = select_for(rule_, n_tokens);
  prompt_tokens_ = n_tokens;
  shares_pages_ = share_pages && !traits_.positions_depend_on_length;
}

int64_t PageReuse::reusable(const SparseRule& rule, int64_t n_tokens, int64_t n_computed) const {
  if (rule != rule_ || traits_.positions_depend_on_length) return 0;
  if (!select_) return n_dense(n_computed);  // dense decodes attend to all keys, as in a dense prefill
  if (select_->depends_on_length()) return 0;
  // The last rows of the earlier prompt were dense, but would not be in a longer prompt. If the new prompt is
  // shorter, as it can be after a cancelled prefill, its last rows will be dense but were not.
  const auto n_sparse = [&](int64_t n) { return select_for(rule, n)->n_sparse_rows() * traits_.page_tokens; };
  return std::min({n_computed, prompt_tokens_, n_sparse(prompt_tokens_), n_sparse(n_tokens)});
}

int64_t PageReuse::n_shareable_pages(int64_t n_tokens) const {
  if (!shares_pages_) return 0;
  if (!select_) return n_dense(n_tokens) / traits_.page_tokens;
  return std::min(select_->n_sparse_rows(), prompt_tokens_ / traits_.page_tokens);
}

PrefixKey PageReuse::key() const {
  return {rule_, select_ && select_->depends_on_length() ? select_->n_prompt_blocks : 0};
}

int64_t PageReuse::prefill_end(int64_t n_tokens, int64_t n_computed) const {
  if (n_computed < prompt_tokens_)
    return !select_ && !traits_.positions_depend_on_length ? n_dense(n_tokens) : prompt_tokens_;
  // These tokens were decoded and are computed again. Up to a page boundary they are computed one by one;
  // from there a dense prefill may continue. But all of them are computed one by one if gates chose blocks
  // for each, or if RoPE is dynamic, under which each was rotated for its own length.
  const bool may_prefill = !traits_.positions_depend_on_length && !sparse_decodes_ &&
                           n_computed % traits_.page_tokens == 0 && n_computed + 1 < n_tokens;
  return may_prefill ? n_tokens : n_computed;
}

}  // namespace seer
