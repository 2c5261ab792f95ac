#include "tokenizer/merges.h"

#include <algorithm>
#include <array>

#include "engine/base/stop_check.h"

namespace seer {
namespace {

constexpr size_t kShort = 32;  // symbols

}  // namespace

// Fibonacci hashing: the high bits of the product depend on all bits of the key.
size_t Merges::slot_of(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = static_cast<size_t>((key * 0x9E3779B97F4A7C15U) >> kHashShift) & mask;
  while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & mask;
  return at;
}

void Merges::grow() {
  std::vector<Slot> old(slots_.empty() ? 1024 : 2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
}

void Merges::add(int32_t left, int32_t right, int32_t merged) {
  if (2 * (n_rules_ + 1) > slots_.size()) grow();
  Slot& slot = slots_[slot_of(key(left, right))];
  if (slot.key == kEmpty) ++n_rules_;
  slot = {key(left, right), Rule{n_added_++, merged}};
}

const Merges::Rule* Merges::find(int32_t left, int32_t right) const {
  if (slots_.empty() || left < 0 || right < 0) return nullptr;
  const Slot& slot = slots_[slot_of(key(left, right))];
  return slot.key == kEmpty ? nullptr : &slot.rule;
}

void Merges::apply(std::vector<int32_t>* ids) const {
  if (ids->size() < 2) return;
  if (ids->size() <= kShort) {
    apply_to_short(ids);
  } else {
    apply_to_long(ids);
  }
}

// Looks at all pairs for each merge. For the few symbols of most words this is faster than a heap.
void Merges::apply_to_short(std::vector<int32_t>* ids) const {
  std::array<const Rule*, kShort> rules{};  // the rule for the pair that begins at each symbol
  size_t n = ids->size();
  for (size_t i = 0; i + 1 < n; ++i) rules[i] = find((*ids)[i], (*ids)[i + 1]);
  while (n > 1) {
    size_t best = n;
    for (size_t i = 0; i + 1 < n; ++i)
      if (rules[i] != nullptr && (best == n || rules[i]->rank < rules[best]->rank)) best = i;
    if (best == n) break;
    (*ids)[best] = rules[best]->merged;
    for (size_t i = best + 1; i + 1 < n; ++i) {
      (*ids)[i] = (*ids)[i + 1];
      rules[i] = rules[i + 1];
    }
    --n;
    rules[n - 1] = nullptr;
    if (best > 0) rules[best - 1] = find((*ids)[best - 1], (*ids)[best]);
    if (best + 1 < n) rules[best] = find((*ids)[best], (*ids)[best + 1]);
  }
  ids->resize(n);
}

void Merges::apply_to_long(std::vector<int32_t>* ids) const {
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
    StopCheck::work();
    std::pop_heap(heap.begin(), heap.end());
    const Candidate c = heap.back();
    heap.pop_back();
    Symbol& left = symbol(c.left);
    // The candidate is out of date if a merge has changed either side since.
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
