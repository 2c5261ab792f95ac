#include "tokenizer/merges.h"

#include <algorithm>
#include <queue>

namespace seer {

void Merges::add(int32_t left, int32_t right, int32_t merged) {
  rules_[key(left, right)] = Rule{n_added_++, merged};
}

const Merges::Rule* Merges::find(int32_t left, int32_t right) const {
  const auto it = rules_.find(key(left, right));
  return it == rules_.end() ? nullptr : &it->second;
}

void Merges::apply(std::vector<int32_t>* ids) const {
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1 at the ends
  };
  struct Candidate {
    int32_t rank;
    int32_t left;               // index of the left symbol
    int32_t left_id, right_id;  // as they were when the candidate was found
    int32_t merged;
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  if (ids->size() < 2) return;
  std::vector<Symbol> symbols(ids->size());
  const auto n = static_cast<int32_t>(symbols.size());
  std::vector<Candidate> heap;
  const auto symbol = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto consider = [&](int32_t left) {
    const int32_t right = symbol(left).next;
    if (right < 0) return false;
    const Rule* rule = find(symbol(left).id, symbol(right).id);
    if (rule != nullptr) heap.push_back({rule->rank, left, symbol(left).id, symbol(right).id, rule->merged});
    return rule != nullptr;
  };
  for (int32_t i = 0; i < n; ++i) symbol(i) = {(*ids)[static_cast<size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1};
  for (int32_t i = 0; i < n; ++i) consider(i);
  std::make_heap(heap.begin(), heap.end());
  constexpr int32_t kGone = -2;  // the id of a symbol that was merged into its left neighbour

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate c = heap.back();
    heap.pop_back();
    Symbol& left = symbol(c.left);
    // Stale where a merge has changed either side since.
    if (left.id != c.left_id || left.next < 0 || symbol(left.next).id != c.right_id) continue;
    Symbol& right = symbol(left.next);
    left.id = c.merged;
    left.next = right.next;
    right.id = kGone;
    if (left.next >= 0) symbol(left.next).previous = c.left;
    if (left.previous >= 0 && consider(left.previous)) std::push_heap(heap.begin(), heap.end());
    if (consider(c.left)) std::push_heap(heap.begin(), heap.end());
  }
  ids->clear();
  for (int32_t i = 0; i >= 0; i = symbol(i).next) ids->push_back(symbol(i).id);
}

}  // namespace seer
