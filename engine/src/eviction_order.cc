#include "engine/src/eviction_order.h"

#include <algorithm>

namespace seer {

EvictionOrder::EvictionOrder(int64_t n_pages, int64_t n_owners, const EvictionRule& rule)
    : rule_(rule),
      pages_(static_cast<size_t>(n_pages)),
      owners_(static_cast<size_t>(n_owners)),
      turn_of_page_(1.0 / static_cast<double>(std::max<int64_t>(1, n_pages))) {}

void EvictionOrder::begin(int32_t page, int64_t owner, double cost) {
  Page& p = at(page);
  if (p.node.empty()) {
    std::set<Entry> one;
    one.emplace(0.0, 0, page);
    p.node = one.extract(one.begin());
  }
  p.owner = static_cast<int32_t>(owner);
  p.n_uses = 1;
  p.kept = false;
  p.in_use = true;
  p.cost = cost;
}

void EvictionOrder::count_use(int32_t page) {
  Page& p = at(page);
  p.n_uses = std::min(p.n_uses + 1, rule_.most_uses);
  p.kept = p.kept || p.n_uses > 1;
}

void EvictionOrder::set_rank(Page* page) const {
  page->rank = now_ + (page->kept ? rule_.turns_per_use * page->n_uses * page->cost
                                  : rule_.turns_per_cost * (page->cost - 1.0));
}

void EvictionOrder::count(const Page& page, int64_t n) {
  n_pages_ += n;
  owner_of(page).n_pages += n;
  if (page.kept) owner_of(page).n_kept += n;
}

void EvictionOrder::rank(int32_t page) {
  Page& p = at(page);
  p.let_go = ++n_let_go_;
  set_rank(&p);
}

void EvictionOrder::give_back(int32_t page) {
  Page& p = at(page);
  p.in_use = false;
  count(p, 1);
}

void EvictionOrder::take(int32_t page) {
  Page& p = at(page);
  p.in_use = true;
  count(p, -1);
  if (p.node.empty()) remove_leaf(page);
}

void EvictionOrder::add_leaf(int32_t page) {
  Page& p = at(page);
  p.node.value() = entry_of(page);
  leaves_beside(p).insert(std::move(p.node));
}

void EvictionOrder::remove_leaf(int32_t page) {
  Page& p = at(page);
  p.node = leaves_beside(p).extract(entry_of(page));
}

void EvictionOrder::evict(int32_t leaf) {
  remove_leaf(leaf);
  count(at(leaf), -1);
  now_ += turn_of_page_;
}

bool EvictionOrder::kept_first(const Owner& o) const {
  if (o.fresh.empty() || o.kept.empty()) return o.fresh.empty();
  return static_cast<double>(o.n_kept) > (1.0 + rule_.slack) * share(o) ||
         std::get<double>(*o.kept.begin()) < now_;
}

int32_t EvictionOrder::first(int64_t owner) const {
  const Owner& o = owners_[static_cast<size_t>(owner)];
  if (o.fresh.empty() && o.kept.empty()) return kNone;
  return std::get<int32_t>(kept_first(o) ? *o.kept.begin() : *o.fresh.begin());
}

std::vector<int32_t> EvictionOrder::next_leaves(int64_t owner, bool first, int64_t n) const {
  const Owner& o = owners_[static_cast<size_t>(owner)];
  std::vector<int32_t> leaves;
  for (const Entry& entry : kept_first(o) == first ? o.kept : o.fresh) {
    if (static_cast<int64_t>(leaves.size()) >= n) break;
    leaves.push_back(std::get<int32_t>(entry));
  }
  return leaves;
}

bool EvictionOrder::should_keep(int32_t leaf) const {
  const Page& p = at(leaf);
  const Owner& o = owners_[static_cast<size_t>(p.owner)];
  return !p.kept && static_cast<double>(o.n_kept) < share(o);
}

bool EvictionOrder::keep(int32_t page) {
  Page& p = at(page);
  if (p.kept) return false;
  const bool leaf = p.node.empty();
  if (leaf) remove_leaf(page);
  p.kept = true;
  if (!p.in_use) {
    ++owner_of(p).n_kept;
    set_rank(&p);
  }
  if (leaf) add_leaf(page);
  return true;
}

}  // namespace seer
