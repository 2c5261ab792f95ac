#include "engine/src/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace seer {
namespace {

// splitmix64's finisher over a running sum: every bit of an id changes every bit of the result on average.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

uint64_t chain_hash(uint64_t parent, std::span<const int32_t> ids) {
  uint64_t h = parent;
  for (const int32_t id : ids) h = mix(h + 0x9e3779b97f4a7c15U + static_cast<uint32_t>(id));
  return h;
}

}  // namespace

PrefixCache::PrefixCache(int64_t n_pages, int64_t page_tokens, bool keep, Hash hash, const PageLayout& layout)
    : pages_(n_pages, layout.n_owners),
      page_tokens_(page_tokens),
      keep_(keep),
      hash_(hash == nullptr ? chain_hash : hash),
      layout_(layout),
      evictable_(static_cast<size_t>(layout.n_owners)),
      n_cached_of_(static_cast<size_t>(layout.n_owners), 0) {
  if (!keep) return;
  nodes_.resize(static_cast<size_t>(n_pages));
  tokens_.resize(static_cast<size_t>(n_pages * page_tokens));
  index_.reserve(static_cast<size_t>(n_pages));
}

int32_t PrefixCache::allocate(int64_t block) {
  const int64_t owner = layout_.owner(block);
  if (pages_.n_free(owner) == 0 && !evict(owner)) return kNone;
  return pages_.allocate(owner);
}

void PrefixCache::count_cached(int32_t page, int64_t n) {
  n_cached_ += n;
  n_cached_of_[static_cast<size_t>(pages_.owner(page))] += n;
}

void PrefixCache::release(int32_t page) {
  if (holds(page)) node(page).last_used = ++clock_;
  unpin(page);
}

void PrefixCache::unpin(int32_t page) {
  pages_.release(page);
  if (!holds(page) || pages_.n_references(page) != 1) return;
  count_cached(page, 1);
  if (node(page).n_children == 0) make_evictable(page);
}

int32_t PrefixCache::find(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids) {
  if (!keep_) return kNone;
  const int32_t page = lookup(hash_of(parent, key, ids), parent, key, ids);
  if (page != kNone) reference(page);
  return page;
}

int32_t PrefixCache::add(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids, int32_t page) {
  if (!keep_ || holds(page)) return page;
  const uint64_t hash = hash_of(parent, key, ids);
  const int32_t same = lookup(hash, parent, key, ids);
  if (same != kNone) {
    reference(same);
    pages_.release(page);
    return same;
  }
  Node& n = node(page);
  if (n.entry.empty()) {
    std::set<Entry> one;
    one.emplace(0, page);
    n.entry = one.extract(one.begin());
  }
  index_.emplace(hash, page);
  n.cached = true;
  n.serial = ++n_added_;
  n.parent = parent;
  n.n_children = 0;
  n.hash = hash;
  n.key = key;
  std::copy(ids.begin(), ids.end(), tokens_.begin() + page * page_tokens_);
  if (parent != kRoot) ++node(parent).n_children;
  pages_.add_reference(page);
  return page;
}

uint64_t PrefixCache::hash_of(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids) {
  assert(static_cast<int64_t>(ids.size()) == page_tokens_);
  if (parent != kRoot) return hash_(node(parent).hash, ids);
  const uint64_t rule =
      mix(std::bit_cast<uint64_t>(key.rule.value) + static_cast<uint64_t>(key.rule.method) + 1);
  return hash_(mix(rule + static_cast<uint64_t>(key.n_prompt_blocks)), ids);
}

int32_t PrefixCache::lookup(uint64_t hash, int32_t parent, const PrefixKey& key,
                            std::span<const int32_t> ids) {
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const Node& n = node(it->second);
    // The parents are equal by induction, since their own tokens were compared on the way here.
    if (n.parent == parent && n.key == key &&
        std::equal(ids.begin(), ids.end(), tokens_.begin() + it->second * page_tokens_))
      return it->second;
  }
  return kNone;
}

void PrefixCache::reference(int32_t page) {
  if (pages_.n_references(page) == 1) {
    count_cached(page, -1);
    Node& n = node(page);
    if (n.entry.empty()) n.entry = evictable_beside(page).extract({n.last_used, page});
  }
  pages_.add_reference(page);
}

void PrefixCache::make_evictable(int32_t page) {
  Node& n = node(page);
  n.entry.value() = {n.last_used, page};
  evictable_beside(page).insert(std::move(n.entry));
}

// From each leaf on, it follows the ancestors that have no other children, which become leaves one after the
// other.
std::vector<int32_t> PrefixCache::next_evicted(int64_t n) const {
  std::vector<int32_t> pages;
  for (const std::set<Entry>& leaves : evictable_) {
    const size_t most = pages.size() + static_cast<size_t>(n);
    for (const Entry& leaf : leaves)
      for (int32_t page = leaf.second; page != kRoot && pages.size() < most; page = node(page).parent) {
        if (pages_.n_references(page) != 1 || node(page).n_children > 1) break;
        pages.push_back(page);
      }
  }
  return pages;
}

// Pages of other owners may hang below the page that is wanted. So leaves are evicted first, whichever owner
// they belong to.
bool PrefixCache::evict(int64_t owner) {
  std::set<Entry>& own = evictable_[static_cast<size_t>(owner)];
  while (own.empty()) {
    if (n_cached_of_[static_cast<size_t>(owner)] == 0) return false;
    std::set<Entry>* oldest = nullptr;
    for (std::set<Entry>& leaves : evictable_)
      if (!leaves.empty() && (oldest == nullptr || leaves.begin()->first < oldest->begin()->first))
        oldest = &leaves;
    if (oldest == nullptr) return false;
    evict_first(oldest);
  }
  evict_first(&own);
  return true;
}

void PrefixCache::evict_first(std::set<Entry>* leaves) {
  const int32_t page = leaves->begin()->second;
  Node& n = node(page);
  n.entry = leaves->extract(leaves->begin());
  const auto [begin, end] = index_.equal_range(n.hash);
  index_.erase(std::find_if(begin, end, [&](const auto& item) { return item.second == page; }));
  n.cached = false;
  count_cached(page, -1);
  if (n.parent != kRoot && --node(n.parent).n_children == 0 && pages_.n_references(n.parent) == 1)
    make_evictable(n.parent);
  pages_.release(page);
}

}  // namespace seer
