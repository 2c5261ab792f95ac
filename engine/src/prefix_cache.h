// Shares full KV pages by their content, and gives out pages: free ones first, then those that are only kept
// for reuse.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/src/eviction_order.h"
#include "engine/src/page_allocator.h"
#include "engine/src/page_cost.h"
#include "engine/src/page_layout.h"
#include "seer/sparse.h"

namespace seer {

// The properties that a page's contents depend on, besides the tokens from the beginning up to its end. The
// rule is one, because keys and values of every layer but the first come out of attention over the blocks
// that it chose.
struct PrefixKey {
  SparseRule rule;
  int64_t n_prompt_blocks = 0;  // only for nz_ratio, under which it decides how much a row keeps; else 0

  friend bool operator==(const PrefixKey&, const PrefixKey&) = default;
};

// A tree of pages: the parent of a cached page holds the tokens before its own. A page is referenced by the
// cache, if it is cached, and by each sequence whose table it is in. A sequence that references a page must
// also reference the page's ancestors. So if no sequence references a page, none references its descendants,
// and pages are evicted leaves first. Which leaf goes first is decided by EvictionOrder. Not thread-safe: the
// caller must hold the scheduler's mutex.
class PrefixCache {
 public:
  static constexpr int32_t kRoot = -1;  // parent of first pages
  static constexpr int32_t kNone = -2;
  using Hash = uint64_t (*)(uint64_t parent, std::span<const int32_t> ids);

  // If `keep` is false, nothing is cached, and this is only an allocator. `hash` is for tests; equal hashes
  // of unequal pages cost only time.
  PrefixCache(int64_t n_pages, int64_t page_tokens, bool keep, Hash hash = nullptr,
              const PageLayout& layout = {}, const PageCost& cost = {}, const EvictionRule& eviction = {});

  // Returns a page for block `block` of a sequence, with one reference. It belongs to that block's owner;
  // kNone if all pages of the owner are in use. Evicts a page if none is free.
  int32_t allocate(int64_t block = 0);
  // Gives back one reference. Never fails.
  void release(int32_t page);

  // Returns the cached page that holds `ids` after `parent`, with a reference for the caller, or kNone if
  // there is none. The caller must have a reference to `parent`.
  int32_t find(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  // Caches `page`, which holds `ids` after `parent` and must not be written again, and returns it. If an
  // equal page is cached already, returns that one instead: the caller's reference to `page` becomes one to
  // the returned page.
  int32_t add(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids, int32_t page);
  bool holds(int32_t page) const { return keep_ && nodes_[static_cast<size_t>(page)].cached; }
  // A number that tells one caching of a page from all others. The page must be cached.
  uint64_t serial(int32_t page) const { return nodes_[static_cast<size_t>(page)].serial; }
  // pin() takes a reference that lasts while the page's contents are copied, and unpin() gives it back. It
  // needs no reference to the page's ancestors, and does not count as a use of the page, whose turn to be
  // evicted stays the same. While the page is pinned, n_available() still counts its ancestors, although they
  // cannot be evicted.
  void pin(int32_t page);
  void unpin(int32_t page);

  // Returns the pages of each owner that would be evicted next, if none were used meanwhile: up to n fresh
  // ones and up to n kept ones, because evictions may alternate between them. Of each kind, the first to go
  // come first.
  std::vector<int32_t> next_evicted(int64_t n);
  // While this number stays the same, so does what next_evicted() returns.
  uint64_t n_changes() const { return n_changes_; }

  bool keeps() const { return keep_; }
  int64_t n_pages() const { return pages_.n_pages(); }
  int64_t n_free() const { return pages_.n_free(); }
  int64_t n_cached() const { return order_.n_pages(); }  // unreferenced: evictable at once
  int64_t n_available() const { return pages_.n_free() + n_cached(); }
  int64_t n_available(int64_t owner) const { return pages_.n_free(owner) + order_.n_pages(owner); }
  const PageLayout& layout() const { return layout_; }
  int64_t n_used() const { return n_pages() - n_available(); }

 private:
  struct Node {
    bool cached = false;
    int32_t parent = kRoot;
    int32_t n_children = 0;
    int32_t block = 0;  // how many pages precede it
    uint64_t hash = 0;  // of all tokens up to the page's end, and the key
    uint64_t serial = 0;
    PrefixKey key;
  };
  Node& node(int32_t page) { return nodes_[static_cast<size_t>(page)]; }
  uint64_t hash_of(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  int32_t lookup(uint64_t hash, int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  void reference(int32_t page);
  bool evict(int64_t owner);
  int32_t victim(int64_t owner);
  void drop(int32_t page);

  PageAllocator pages_;
  int64_t page_tokens_;
  bool keep_;
  Hash hash_;
  std::vector<Node> nodes_;      // [n_pages]
  std::vector<int32_t> tokens_;  // [n_pages, page_tokens], compared to confirm a match of hashes
  std::unordered_multimap<uint64_t, int32_t> index_;  // by hash
  PageLayout layout_;
  PageCost cost_;
  EvictionOrder order_;
  uint64_t n_added_ = 0, n_changes_ = 0;
};

}  // namespace seer
