// Plants look-ups in windows of training texts: sentences with a number, and later ones that have the number
// again. Novels seldom make a model look something up, so gates learn little about it from them alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "seer/tokenizer.h"

namespace seer {

// The sentences have other words than those by which gates are judged (tests/bench/needle.py and seer tune),
// so that judging stays honest. Windows are a function of the seed and their number.
class PlantedLookUps {
 public:
  // `share` is that of the windows with look-ups, in [0, 1]. `tokenizer` must outlive the object.
  PlantedLookUps(const Tokenizer& tokenizer, double share, uint64_t seed);

  // Returns the tokens of window `i`, with look-ups if it is one of the share. Tokens that then go beyond the
  // window's size are left out. A window in which fewer than two lines or sentences end stays as it is.
  std::vector<int32_t> window(std::span<const int32_t> tokens, int64_t i) const;

 private:
  struct Line {
    int64_t before = 0;  // stands before this token of the window
    std::vector<int32_t> ids;
  };
  class Draw;
  std::vector<Line> draw_lines(const std::vector<int64_t>& breaks, int64_t n_tokens, Draw* draw) const;
  // Returns the tokens that a text has as a line of its own, with the line ends around it.
  std::vector<int32_t> line(const std::string& text) const;

  const Tokenizer& tokenizer_;
  double share_;
  uint64_t seed_;
  std::vector<bool> ends_;  // by id: whether a line or a sentence ends with the token
};

}  // namespace seer
