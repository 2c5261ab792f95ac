#include "engine/src/sequence.h"

#include <algorithm>
#include <cassert>

namespace seer {

bool Sequence::reserve(int64_t n_tokens) {
  const int64_t n = n_pages_for(n_tokens);
  page_table_.reserve(static_cast<size_t>(n));  // so that no page is lost between pool and table
  while (n_pages() < n) {
    const int32_t page = pages_->allocate(n_pages());
    if (page == PrefixCache::kNone) return false;
    page_table_.push_back(page);
  }
  return true;
}

int64_t Sequence::begin_prefill(const SparseRule& rule, bool share) {
  assert(!tokens_.empty());
  const int64_t page = traits_.page_tokens;
  // The last token is always computed: its logits are wanted.
  const int64_t kept = std::min(reusable(rule), n_tokens() - 1) / page * page;
  rule_ = rule;
  share_ = share && pages_->keeps() && !traits_.positions_depend_on_length;
  prompt_tokens_ = n_tokens();
  n_computed_ = kept;
  // Also the open page behind them, which would be written again: others may be reading it.
  drop_pages(kept / page);
  n_shared_ = 0;
  share_full_pages();
  take_cached_pages();
  return n_computed_;
}

int64_t Sequence::reusable(const SparseRule& rule) const {
  if (rule != rule_ || traits_.positions_depend_on_length) return 0;
  switch (rule.method) {
    case SparseRule::Method::kDense:
      return n_computed_;  // decoded tokens attend to everything, as in a dense prefill
    case SparseRule::Method::kThreshold: {
      // The last two block rows of the earlier prompt were dense, and would not be in a longer one; those of
      // a shorter one, which can follow a cancelled prefill, will be dense and were not.
      const int64_t n_blocks = n_pages_for(std::min(prompt_tokens_, n_tokens()));
      const int64_t dense_from = std::max<int64_t>(0, n_blocks - 2) * traits_.page_tokens;
      return std::min({n_computed_, prompt_tokens_, traits_.last_block_dense ? dense_from : prompt_tokens_});
    }
    case SparseRule::Method::kNzRatio:
      return 0;  // how many blocks a row keeps depends on the length of the whole prompt
  }
  return 0;
}

int64_t Sequence::n_shareable_pages() const {
  if (!share_) return 0;
  if (dense()) return n_tokens() / traits_.page_tokens;
  return traits_.last_block_dense ? std::max<int64_t>(0, n_pages_for(prompt_tokens_) - 2)
                                  : prompt_tokens_ / traits_.page_tokens;
}

PrefixKey Sequence::key() const {
  const bool by_length = rule_.method == SparseRule::Method::kNzRatio;
  return {rule_, by_length ? n_pages_for(prompt_tokens_) : 0};
}

void Sequence::share_full_pages() {
  const int64_t n = std::min(n_computed_ / traits_.page_tokens, n_shareable_pages());
  for (; n_shared_ < n; ++n_shared_) {
    int32_t& page = page_table_[static_cast<size_t>(n_shared_)];
    page = pages_->add(last_shared(), key(), page_ids(n_shared_), page);
  }
}

void Sequence::take_cached_pages() {
  const int64_t page_tokens = traits_.page_tokens;
  if (n_shared_ * page_tokens != n_computed_) return;  // what lies between is not to be had
  const int64_t n = std::min(n_shareable_pages(), (n_tokens() - 1) / page_tokens);
  page_table_.reserve(static_cast<size_t>(std::max<int64_t>(n, n_shared_)));
  for (; n_shared_ < n; ++n_shared_) {
    const int32_t page = pages_->find(last_shared(), key(), page_ids(n_shared_));
    if (page == PrefixCache::kNone) break;
    page_table_.push_back(page);
    n_computed_ += page_tokens;
  }
}

void Sequence::give_up_pages() {
  drop_pages(0);
  n_computed_ = n_shared_ = 0;
}

int64_t Sequence::resume() {
  assert(page_table_.empty() && prompt_tokens_ > 0);
  take_cached_pages();
  return n_computed_;
}

int64_t Sequence::prefill_end() const {
  if (n_computed_ < prompt_tokens_)
    return dense() && !traits_.positions_depend_on_length ? n_tokens() : prompt_tokens_;
  // Computing again what was decoded: token by token up to a page boundary, where a dense prefill may begin.
  // Under dynamic RoPE each of them was rotated for a length of its own.
  const bool may_prefill = !traits_.positions_depend_on_length && n_computed_ % traits_.page_tokens == 0 &&
                           n_computed_ + 1 < n_tokens();
  return may_prefill ? n_tokens() : n_computed_;
}

bool Sequence::in_sparse_prompt() const { return !dense() && n_computed_ < prompt_tokens_; }

void Sequence::computed(int64_t n) {
  n_computed_ += n;
  share_full_pages();
}

void Sequence::truncate(int64_t n) {
  if (n >= n_tokens()) return;
  tokens_.resize(static_cast<size_t>(n));
  n_computed_ = std::min(n_computed_, n);
  drop_pages(std::min(n_pages(), n_pages_for(n)));
  const int64_t n_whole = n / traits_.page_tokens;
  if (n_shared_ > n_whole) {  // the open page is one that others may be reading
    drop_pages(n_whole);
    n_computed_ = n_whole * traits_.page_tokens;
    n_shared_ = n_whole;
  }
}

void Sequence::drop_pages(int64_t n_kept) {
  while (n_pages() > n_kept) {
    pages_->release(page_table_.back());
    page_table_.pop_back();
  }
}

void Sequence::clear() {
  give_up_pages();
  tokens_.clear();
  prompt_tokens_ = 0;
  rule_ = {};
}

}  // namespace seer
