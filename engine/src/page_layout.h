// If prompts are divided among ranks by their tokens: says to which rank a page of the pool belongs, and
// which rank's pages a sequence takes.
#pragma once

#include <algorithm>
#include <cstdint>

namespace seer {

// An owner is a rank. Page ids are global, and those of an owner follow one another. Block b of any sequence
// lies in a page of owner(b). Runs of whole blocks go to the owners in zig-zag, 0 1 .. n-1 n-1 .. 1 0, so
// that each has early blocks, whose rows attend to little, and late ones.
struct PageLayout {
  int64_t n_owners = 1;
  int64_t run = 1;  // blocks

  int64_t owner(int64_t block) const {
    const int64_t at = block / run % (2 * n_owners);
    return at < n_owners ? at : 2 * n_owners - 1 - at;
  }
  // Returns how many of the blocks [0, n_blocks) `who` owns.
  int64_t n_blocks_of(int64_t n_blocks, int64_t who) const {
    const int64_t round = 2 * n_owners * run, rest = n_blocks % round;
    const auto of_run = [&](int64_t r) { return std::clamp<int64_t>(rest - r * run, 0, run); };
    return n_blocks / round * 2 * run + of_run(who) + of_run(2 * n_owners - 1 - who);
  }
  int64_t most_blocks(int64_t n_blocks) const {
    int64_t most = 0;
    for (int64_t who = 0; who < n_owners; ++who) most = std::max(most, n_blocks_of(n_blocks, who));
    return most;
  }
};

}  // namespace seer
