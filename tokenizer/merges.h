// The merge loop of byte-pair encoding (Sennrich et al., 2016, arXiv:1508.07909): the pair that was learned
// first is merged first, the leftmost among equals.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace seer {

class Merges {
 public:
  // Rules are added in the order they were learned. Of a pair that comes twice the last rule counts, as in
  // the tokenizers package.
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
  const Rule* find(int32_t left, int32_t right) const;

  std::unordered_map<uint64_t, Rule> rules_;
  int32_t n_added_ = 0;
};

}  // namespace seer
