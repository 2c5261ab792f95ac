// Shares full KV pages by their content, and gives out pages: free ones first, then those that are only kept
// for reuse.
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
// and pages are evicted leaves first. Not thread-safe: the caller must hold the scheduler's mutex.
class PrefixCache {
 public:
  static constexpr int32_t kRoot = -1;  // parent of first pages
  static constexpr int32_t kNone = -2;
  using Hash = uint64_t (*)(uint64_t parent, std::span<const int32_t> ids);

  // If `keep` is false, nothing is cached, and this is only an allocator. `hash` is for tests; equal hashes
  // of unequal pages cost only time.
  PrefixCache(int64_t n_pages, int64_t page_tokens, bool keep, Hash hash = nullptr,
              const PageLayout& layout = {});

  // Returns a page for block `block` of a sequence, with one reference. It belongs to that block's owner;
  // kNone if all pages of the owner are in use. Evicts the page that was unused the longest.
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
  // A reference that lasts while the page's contents are copied. It needs no reference to the ancestors, and
  // is no use of the page: the page's turn to be evicted stays the same. While there is one, pages are
  // counted as available that are not.
  void pin(int32_t page) { holds(page) ? reference(page) : pages_.add_reference(page); }
  void unpin(int32_t page);

  // Returns up to n pages of each owner, in about the order in which they would be evicted, if none were used
  // meanwhile.
  std::vector<int32_t> next_evicted(int64_t n) const;

  bool keeps() const { return keep_; }
  int64_t n_pages() const { return pages_.n_pages(); }
  int64_t n_free() const { return pages_.n_free(); }
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
    uint64_t serial = 0;
    PrefixKey key;
    std::set<Entry>::node_type entry;  // its node for evictable_ while it is not in it, so that release()
                                       // allocates nothing and never fails
  };
  Node& node(int32_t page) { return nodes_[static_cast<size_t>(page)]; }
  const Node& node(int32_t page) const { return nodes_[static_cast<size_t>(page)]; }
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
  std::vector<int32_t> tokens_;  // [n_pages, page_tokens], compared to confirm a match of hashes
  std::unordered_multimap<uint64_t, int32_t> index_;  // by hash
  PageLayout layout_;
  std::vector<std::set<Entry>> evictable_;  // of each owner: unreferenced leaves, the longest unused first
  std::vector<int64_t> n_cached_of_;        // each owner
  int64_t n_cached_ = 0;
  uint64_t clock_ = 0, n_added_ = 0;
};

}  // namespace seer
