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

PrefixCache::PrefixCache(int64_t n_pages, int64_t page_tokens, bool keep, Hash hash, const PageLayout& layout,
                         const PageCost& cost, const EvictionRule& eviction)
    : pages_(n_pages, layout.n_owners),
      page_tokens_(page_tokens),
      keep_(keep),
      hash_(hash == nullptr ? chain_hash : hash),
      layout_(layout),
      cost_(cost),
      order_(keep ? n_pages : 0, layout.n_owners, eviction) {
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

void PrefixCache::release(int32_t page) {
  if (holds(page)) order_.rank(page);
  unpin(page);
}

void PrefixCache::unpin(int32_t page) {
  ++n_changes_;
  pages_.release(page);
  if (!holds(page) || pages_.n_references(page) != 1) return;
  order_.give_back(page);
  if (node(page).n_children == 0) order_.add_leaf(page);
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
  const int32_t block = parent == kRoot ? 0 : node(parent).block + 1;
  order_.begin(page, pages_.owner(page), cost_.of_page(key.rule, block, page_tokens_));
  index_.emplace(hash, page);
  n.cached = true;
  n.serial = ++n_added_;
  n.parent = parent;
  n.n_children = 0;
  n.block = block;
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

void PrefixCache::pin(int32_t page) {
  ++n_changes_;
  if (holds(page) && pages_.n_references(page) == 1) order_.take(page);
  pages_.add_reference(page);
}

void PrefixCache::reference(int32_t page) {
  ++n_changes_;
  if (pages_.n_references(page) == 1) order_.take(page);
  order_.count_use(page);
  pages_.add_reference(page);
}

// From each leaf on, it follows the ancestors that have no other children, which become leaves one after the
// other.
std::vector<int32_t> PrefixCache::next_evicted(int64_t n) {
  std::vector<int32_t> pages;
  const auto list = [&](const std::vector<int32_t>& leaves) {
    const size_t most = pages.size() + static_cast<size_t>(n);
    for (const int32_t leaf : leaves)
      for (int32_t page = leaf; page != kRoot && pages.size() < most; page = node(page).parent) {
        if (pages_.n_references(page) != 1 || node(page).n_children > 1) break;
        pages.push_back(page);
      }
  };
  for (int64_t owner = 0; owner < layout_.n_owners; ++owner) {
    (void)victim(owner);  // keeps what the next eviction would keep
    for (const bool first : {true, false}) list(order_.next_leaves(owner, first, n));
  }
  return pages;
}

// Pages of other owners may hang below the page that is wanted. So leaves are evicted first, whichever owner
// they belong to.
bool PrefixCache::evict(int64_t owner) {
  if (order_.n_pages(owner) == 0) return false;
  int32_t page = victim(owner);
  while (page == kNone) {
    for (int64_t other = 0; other < layout_.n_owners; ++other) {
      const int32_t leaf = victim(other);
      if (leaf != kNone && (page == kNone || order_.before(leaf, page))) page = leaf;
    }
    if (page == kNone) return false;  // what hangs below the owner's pages is pinned
    drop(page);
    page = victim(owner);
  }
  drop(page);
  return true;
}

// Returns the leaf of the owner that goes first, after those have been kept that are to be kept.
int32_t PrefixCache::victim(int64_t owner) {
  for (;;) {
    const int32_t leaf = order_.first(owner);
    if (leaf == EvictionOrder::kNone) return kNone;
    if (!order_.should_keep(leaf)) return leaf;
    for (int32_t page = leaf; page != kRoot && order_.keep(page);) page = node(page).parent;
  }
}

void PrefixCache::drop(int32_t page) {
  ++n_changes_;
  order_.evict(page);
  Node& n = node(page);
  const auto [begin, end] = index_.equal_range(n.hash);
  index_.erase(std::find_if(begin, end, [&](const auto& item) { return item.second == page; }));
  n.cached = false;
  if (n.parent != kRoot && --node(n.parent).n_children == 0 && pages_.n_references(n.parent) == 1)
    order_.add_leaf(n.parent);
  pages_.release(page);
}

}  // namespace seer
