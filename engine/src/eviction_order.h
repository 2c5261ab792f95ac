// Decides which cached page is evicted first: by age, by how often it was used, and by what it would cost to
// compute it again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>
#include <vector>

namespace seer {

// The numbers of the policy, which engine/DESIGN.md explains ("Which page goes first"). The values here were
// chosen with tests/bench/prefix_worth.cc.
struct EvictionRule {
  double kept_share = 1.0 / 3;  // of the pages that are not in use
  double slack = 0.25;  // the part of that share by which it may be exceeded, because it goes up and down
  int32_t most_uses = 4;
  double turns_per_use = 1.0;
  double turns_per_cost = 0.1;

  // The longest unused page goes first, whatever it is worth. The policy is compared with this.
  static EvictionRule least_recently_used() { return {0.0, 0.0, 1, 0.0, 0.0}; }
};

// Time is counted in turns: a turn has passed when as many pages have been evicted as the pool has. A page
// is "fresh" at first. It becomes "kept" when another sequence uses it, or when it is the next to go among
// the fresh ones while there is room among the kept ones. Letting go of a page gives it a rank, which is a
// time: now, plus turns for what the page is worth. A kept page of the lowest rank is evicted if the kept
// pages are more than their share, or if the time of its rank has passed, or if no fresh page can go.
// Otherwise the fresh page of the lowest rank is evicted.
//
// Only leaves of the tree of pages that are not in use are evicted. Only begin() and next_leaves() allocate
// memory; no other function can fail.
class EvictionOrder {
 public:
  static constexpr int32_t kNone = -1;

  EvictionOrder(int64_t n_pages, int64_t n_owners, const EvictionRule& rule);

  // Begins to rank a page, which is in use, for the first time. `cost` is what computing it takes (PageCost).
  void begin(int32_t page, int64_t owner, double cost);
  // Says that another sequence uses a page, which is in use.
  void count_use(int32_t page);
  // Ranks a page that is in use, because a sequence lets go of it, whether or not others still use it.
  void rank(int32_t page);
  void give_back(int32_t page);  // says that the page is not in use any more
  void let_go(int32_t page) { rank(page), give_back(page); }
  void take(int32_t page);  // says that the page, which was not in use, is in use again
  // Says that the page, which is not in use, has no children.
  void add_leaf(int32_t page);
  void evict(int32_t leaf);

  // Returns the leaf of the owner that should go first, or kNone if it has no leaf.
  int32_t first(int64_t owner) const;
  // Returns up to n leaves of one kind, fresh or kept, in the order in which they would go. If `first` is
  // true, that is the kind of the leaf that first() returns, and otherwise it is the other kind.
  std::vector<int32_t> next_leaves(int64_t owner, bool first, int64_t n) const;
  // Returns whether that leaf and its ancestors should become kept instead. The caller must then call keep()
  // for each, beginning with the leaf, until it returns false.
  bool should_keep(int32_t leaf) const;
  bool keep(int32_t page);  // false: it was kept already
  // Returns whether leaf `a` goes before leaf `b`, which may be another owner's.
  bool before(int32_t a, int32_t b) const { return entry_of(a) < entry_of(b); }

  int64_t n_pages() const { return n_pages_; }  // that are not in use
  int64_t n_pages(int64_t owner) const { return owners_[static_cast<std::size_t>(owner)].n_pages; }

 private:
  using Entry = std::tuple<double, uint64_t, int32_t>;  // rank, when it was let go, page
  struct Page {
    int32_t owner = 0;
    int32_t n_uses = 0;
    bool kept = false;
    bool in_use = false;
    double cost = 1.0;
    double rank = 0.0;
    uint64_t let_go = 0;
    std::set<Entry>::node_type node;  // for a set of leaves; it is here while the page is in none, so that
                                      // letting go of a page allocates nothing and never fails
  };
  struct Owner {
    std::set<Entry> fresh, kept;      // leaves
    int64_t n_pages = 0, n_kept = 0;  // leaves and others
  };
  Page& at(int32_t page) { return pages_[static_cast<std::size_t>(page)]; }
  const Page& at(int32_t page) const { return pages_[static_cast<std::size_t>(page)]; }
  Owner& owner_of(const Page& page) { return owners_[static_cast<std::size_t>(page.owner)]; }
  Entry entry_of(int32_t page) const { return {at(page).rank, at(page).let_go, page}; }
  std::set<Entry>& leaves_beside(const Page& page) {
    return page.kept ? owner_of(page).kept : owner_of(page).fresh;
  }
  double share(const Owner& owner) const { return rule_.kept_share * static_cast<double>(owner.n_pages); }
  bool kept_first(const Owner& owner) const;  // fresh or kept pages must have a leaf
  void set_rank(Page* page) const;
  void count(const Page& page, int64_t n);
  void remove_leaf(int32_t page);

  EvictionRule rule_;
  std::vector<Page> pages_;
  std::vector<Owner> owners_;
  int64_t n_pages_ = 0;
  double now_ = 0.0;  // in turns
  double turn_of_page_;
  uint64_t n_let_go_ = 0;
};

}  // namespace seer
