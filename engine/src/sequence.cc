#include "engine/src/sequence.h"

#include <algorithm>
#include <cassert>

namespace seer {

bool Sequence::reserve(int64_t n_tokens) {
  const int64_t n = n_pages_for(n_tokens);
  page_table_.reserve(static_cast<size_t>(n));  // so that push_back cannot fail and lose a page between pool
                                                // and table
  while (n_pages() < n) {
    const int32_t page = pages_->allocate(n_pages());
    if (page == PrefixCache::kNone) return false;
    page_table_.push_back(page);
  }
  return true;
}

int64_t Sequence::begin_prefill(const SequenceRules& rules, bool share_pages, bool whole) {
  assert(!tokens_.empty());
  const int64_t page = page_tokens();
  // The last token is always computed, because its logits are wanted.
  const int64_t reusable = whole ? 0 : reuse_.reusable(rules.prompt, n_tokens(), n_computed_);
  const int64_t kept = std::min(reusable, n_tokens() - 1) / page * page;
  reuse_.begin(rules, n_tokens(), share_pages && !whole && pages_->keeps());
  n_computed_ = kept;
  // Also drops the open page after the kept ones: it would be written again, and others may be reading it.
  drop_pages(kept / page);
  n_shared_ = 0;
  share_full_pages();
  take_cached_pages();
  return n_computed_;
}

void Sequence::share_full_pages() {
  const int64_t n = std::min(n_computed_ / page_tokens(), reuse_.n_shareable_pages(n_tokens()));
  for (; n_shared_ < n; ++n_shared_) {
    int32_t& page = page_table_[static_cast<size_t>(n_shared_)];
    const int32_t own = page;
    const bool known = pages_->holds(page);
    page = pages_->add(last_shared(), reuse_.key(), page_ids(n_shared_), page);
    if (saver_ != nullptr && !known && page == own && pages_->holds(page))
      saver_->filled(page, name(n_shared_), facts(n_shared_));
  }
}

int64_t Sequence::n_restorable() const {
  if (saver_ == nullptr || n_shared_ != n_pages() || n_shared_ * page_tokens() != n_computed_)
    return n_shared_;
  return std::max(n_shared_,
                  std::min(reuse_.n_shareable_pages(n_tokens()), (n_tokens() - 1) / page_tokens()));
}

const PageName& Sequence::name(int64_t page) {
  if (!(names_key_ == reuse_.key())) names_.clear();
  names_key_ = reuse_.key();
  for (auto i = static_cast<int64_t>(names_.size()); i <= page; ++i)
    names_.push_back(page_name(i == 0 ? saver_->root(names_key_) : names_.back(), page_ids(i)));
  return names_[static_cast<size_t>(page)];
}

PageFacts Sequence::facts(int64_t page) const {
  const int64_t first = page * page_tokens();
  return {first, reuse_.in_sparse_prompt(first)};
}

void Sequence::take_cached_pages() {
  if (n_shared_ * page_tokens() != n_computed_) return;  // pages between them cannot be shared
  const int64_t n = std::min(reuse_.n_shareable_pages(n_tokens()), (n_tokens() - 1) / page_tokens());
  page_table_.reserve(static_cast<size_t>(std::max<int64_t>(n, n_shared_)));
  for (; n_shared_ < n; ++n_shared_) {
    const int32_t page = pages_->find(last_shared(), reuse_.key(), page_ids(n_shared_));
    if (page == PrefixCache::kNone) break;
    page_table_.push_back(page);
    n_computed_ += page_tokens();
  }
}

void Sequence::give_up_pages() {
  drop_pages(0);
  n_computed_ = n_shared_ = 0;
}

int64_t Sequence::resume() {
  assert(page_table_.empty() && prompt_tokens() > 0);
  take_cached_pages();
  return n_computed_;
}

void Sequence::begin_restore(std::span<const int32_t> tokens, const SequenceState& state) {
  assert(tokens_.empty() && page_table_.empty());
  append(tokens);
  reuse_.begin(state.rules, state.prompt_tokens, pages_->keeps());
}

void Sequence::computed(int64_t n) {
  n_computed_ += n;
  share_full_pages();
}

void Sequence::give_up_expected() {
  drop_pages(n_shared_);
  n_computed_ = n_shared_ * page_tokens();
}

void Sequence::truncate(int64_t n) {
  if (n >= n_tokens()) return;
  tokens_.resize(static_cast<size_t>(n));
  names_.resize(std::min(names_.size(), static_cast<size_t>(n / page_tokens())));
  n_computed_ = std::min(n_computed_, n);
  drop_pages(std::min(n_pages(), n_pages_for(n)));
  const int64_t n_whole = n / page_tokens();
  if (n_shared_ > n_whole) {  // others may be reading the open page
    drop_pages(n_whole);
    n_computed_ = n_whole * page_tokens();
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
  names_.clear();
  reuse_.clear();
}

}  // namespace seer
