// Full KV pages shared by content, and the pages to be had: free ones first, then those that were kept for
// reuse alone.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/src/page_allocator.h"
#include "engine/src/page_layout.h"
#include "seer/sparse.h"

namespace seer {

// What a page's contents depend on beside the tokens from the beginning up to its end: keys and values of
// every layer but the first come out of an attention that the rule chose.
struct PrefixKey {
  SparseRule rule;
  int64_t n_prompt_blocks = 0;  // nz_ratio: how much a row keeps depends on it; 0 for the other rules

  friend bool operator==(const PrefixKey&, const PrefixKey&) = default;
};

// A tree: the parent of a cached page holds the tokens before its own. A page is referenced by the cache and
// by each sequence whose table it is in. A sequence that references a page references its ancestors too, so
// whatever hangs below an unreferenced page is unreferenced, and pages are evicted leaves first. Not
// thread-safe: the scheduler's mutex guards it.
class PrefixCache {
 public:
  static constexpr int32_t kRoot = -1;  // parent of first pages
  static constexpr int32_t kNone = -2;
  using Hash = uint64_t (*)(uint64_t parent, std::span<const int32_t> ids);

  // keep false: nothing is cached, and this is an allocator. `hash` is for tests; equal hashes of unequal
  // pages cost time only.
  PrefixCache(int64_t n_pages, int64_t page_tokens, bool keep, Hash hash = nullptr,
              const PageLayout& layout = {});

  // A page for block `block` of a sequence, of that block's owner, with one reference; kNone where all of
  // those are in use. Evicts what was unused the longest.
  int32_t allocate(int64_t block = 0);
  // Gives back one reference. Never fails.
  void release(int32_t page);

  // The cached page that holds `ids` behind `parent`, with a reference for the caller; else kNone. The caller
  // holds a reference of `parent`.
  int32_t find(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  // Caches `page`, which holds `ids` behind `parent` and will not be written again. Where such a page is
  // cached already, the caller's reference of `page` becomes one of that. Returns which page it is.
  int32_t add(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids, int32_t page);
  bool holds(int32_t page) const { return keep_ && nodes_[static_cast<size_t>(page)].cached; }

  bool keeps() const { return keep_; }
  int64_t n_pages() const { return pages_.n_pages(); }
  int64_t n_cached() const { return n_cached_; }  // unreferenced: evictable at once
  int64_t n_available() const { return pages_.n_free() + n_cached_; }
  int64_t n_available(int64_t owner) const {
    return pages_.n_free(owner) + n_cached_of_[static_cast<size_t>(owner)];
  }
  const PageLayout& layout() const { return layout_; }
  int64_t n_used() const { return n_pages() - n_available(); }

 private:
  using Entry = std::pair<uint64_t, int32_t>;  // last use, page
  struct Node {
    bool cached = false;
    int32_t parent = kRoot;
    int32_t n_children = 0;
    uint64_t hash = 0;       // of all tokens up to the page's end, and the key
    uint64_t last_used = 0;  // when its last sequence let go of it
    PrefixKey key;
    std::set<Entry>::node_type entry;  // its place in evictable_ while it is not there: release() never fails
  };
  Node& node(int32_t page) { return nodes_[static_cast<size_t>(page)]; }
  uint64_t hash_of(int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  int32_t lookup(uint64_t hash, int32_t parent, const PrefixKey& key, std::span<const int32_t> ids);
  void reference(int32_t page);
  void make_evictable(int32_t page);
  std::set<Entry>& evictable_beside(int32_t page) {
    return evictable_[static_cast<size_t>(pages_.owner(page))];
  }
  void count_cached(int32_t page, int64_t n);
  bool evict(int64_t owner);
  void evict_first(std::set<Entry>* leaves);

  PageAllocator pages_;
  int64_t page_tokens_;
  bool keep_;
  Hash hash_;
  std::vector<Node> nodes_;      // [n_pages]
  std::vector<int32_t> tokens_;  // [n_pages, page_tokens]: what decides a match, for hashes may agree
  std::unordered_multimap<uint64_t, int32_t> index_;  // by hash
  PageLayout layout_;
  std::vector<std::set<Entry>> evictable_;  // of each owner: unreferenced leaves, the longest unused first
  std::vector<int64_t> n_cached_of_;        // each owner
  int64_t n_cached_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace seer
