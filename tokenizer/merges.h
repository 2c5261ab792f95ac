// The merge loop of byte-pair encoding (Sennrich et al., 2016, arXiv:1508.07909). The pair that was learned
// first is merged first, and among equal pairs the leftmost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer {

class Merges {
 public:
  // Add rules in the order in which they were learned. If a pair comes twice, its last rule counts, as in the
  // tokenizers package.
  void add(int32_t left, int32_t right, int32_t merged);
  // Merges `ids`, one word's symbols, in place. O(n log n). Negative ids never merge.
  void apply(std::vector<int32_t>* ids) const;

 private:
  struct Rule {
    int32_t rank;
    int32_t merged;
  };
  static uint64_t key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  struct Slot {
    uint64_t key = kEmpty;
    Rule rule{};
  };
  static constexpr uint64_t kEmpty = UINT64_MAX;  // a pair of negative ids, which no rule has
  static constexpr int kHashShift = 32;

  size_t slot_of(uint64_t key) const;
  void grow();
  const Rule* find(int32_t left, int32_t right) const;
  void apply_to_short(std::vector<int32_t>* ids) const;
  void apply_to_long(std::vector<int32_t>* ids) const;

  // A hash table with open addressing, at most half full. Most look-ups take one access to memory.
  // std::unordered_map takes a division and two accesses, which was a third of the time of tokenizing a text.
  std::vector<Slot> slots_;
  size_t n_rules_ = 0;
  int32_t n_added_ = 0;
};

}  // namespace seer
