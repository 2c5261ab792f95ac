#include "engine/src/sequence.h"

#include <algorithm>
#include <cassert>

namespace seer {

void Sequence::reserve(int64_t n_tokens) {
  const size_t n_pages = pages_for(n_tokens);
  page_table_.reserve(n_pages);
  while (page_table_.size() < n_pages) page_table_.push_back(pages_->allocate());
}

int64_t Sequence::begin_prefill(const SparseRule& rule, bool last_block_dense,
                                bool positions_depend_on_length) {
  assert(!tokens_.empty());
  int64_t kept = positions_depend_on_length ? 0 : reusable(rule, last_block_dense);
  // The last token is always computed: its logits are wanted.
  kept = std::min(kept, n_tokens() - 1) / page_tokens_ * page_tokens_;
  n_computed_ = kept;
  rule_ = rule;
  last_block_dense_ = last_block_dense;
  prompt_tokens_ = n_tokens();
  prefill_end_ = n_tokens();
  return kept;
}

int64_t Sequence::reusable(const SparseRule& rule, bool last_block_dense) const {
  if (rule != rule_) return 0;
  switch (rule.method) {
    case SparseRule::Method::kDense:
      return n_computed_;  // decoded tokens attend to everything, as in a dense prefill
    case SparseRule::Method::kThreshold: {
      if (last_block_dense != last_block_dense_) return 0;
      // The last two block rows of the earlier prompt were dense, and would not be in a longer one; those of
      // a shorter one, which can follow a cancelled prefill, will be dense and were not.
      const auto n_blocks = static_cast<int64_t>(pages_for(std::min(prompt_tokens_, n_tokens())));
      const int64_t dense_from = std::max<int64_t>(0, n_blocks - 2) * page_tokens_;
      return std::min({n_computed_, prefill_end_, last_block_dense ? dense_from : prompt_tokens_});
    }
    case SparseRule::Method::kNzRatio:
      return 0;  // how many blocks a row keeps depends on the length of the whole prompt
  }
  return 0;
}

void Sequence::drop_uncomputed() {
  tokens_.resize(static_cast<size_t>(std::min(n_tokens(), n_computed_)));
  const size_t n_pages = pages_for(n_tokens());
  while (page_table_.size() > n_pages) {
    pages_->release(page_table_.back());
    page_table_.pop_back();
  }
}

void Sequence::clear() {
  for (const int32_t page : page_table_) pages_->release(page);
  page_table_.clear();
  tokens_.clear();
  n_computed_ = 0;
  prompt_tokens_ = prefill_end_ = 0;
  rule_ = {};
}

}  // namespace seer
