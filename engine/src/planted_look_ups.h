// Plants look-ups in windows of training texts: sentences with a number, and later questions to which the
// number is the answer. Novels seldom make a model look something up, so gates learn little about it from
// them alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "seer/tokenizer.h"

namespace seer {

struct PlantedWindow {
  std::vector<int32_t> ids;
  // The positions before the tokens of all answers, in rising order. Empty if nothing was planted.
  std::vector<int64_t> answers;
};

// The sentences have other words than those by which gates are judged (tests/bench/needle.py and seer tune),
// so that judging stays honest. Windows are a function of the seed and their number.
class PlantedLookUps {
 public:
  // `share` is that of the windows with look-ups, in [0, 1]. `tokenizer` must outlive the object.
  PlantedLookUps(const Tokenizer& tokenizer, double share, uint64_t seed);

  // Returns how many tokens the smallest window has in which there is room for a look-up.
  int64_t least_window() const { return kWindowsOfLookUps * n_longest_; }
  // Returns the tokens of window `i`, with look-ups if it is one of the share. Answers are planted after the
  // first `first_answer` tokens. As many tokens as are planted are left out at the end, so that the window
  // keeps its size and has all that was planted. A question stands after the end of a line or sentence, and
  // its fact after an earlier one; a window without two such places stays as it is.
  PlantedWindow window(std::span<const int32_t> tokens, int64_t i, int64_t first_answer) const;

 private:
  // At most one of so many parts of a window is planted. So the rest is still text of its kind.
  static constexpr int64_t kWindowsOfLookUps = 4;

  // A sentence as a line of its own.
  struct Line {
    std::vector<int32_t> ids;
    int64_t n_lead = 0;                // tokens that end the line before it
    int64_t answer = 0, n_answer = 0;  // the first token of the number, and how many there are

    int64_t size() const { return static_cast<int64_t>(ids.size()); }
  };
  struct LookUp {
    Line fact, question;
    int64_t n_asked = 1;

    int64_t size() const { return fact.size() + n_asked * question.size(); }
  };
  struct Planted {
    int64_t before = 0;  // stands before this token of the window
    const Line* line = nullptr;
    bool asks = false;
  };
  enum class Ending : char { kNone, kSentence, kLine };
  class Draw;

  // `text` has the place of the number.
  Line line(const std::string& text, const std::string& number) const;
  LookUp look_up(size_t form, size_t who, size_t what, const std::string& number) const;
  std::vector<LookUp> draw_look_ups(int64_t n_tokens, Draw* draw) const;
  // Chooses a place for each line of the look-ups, in order of places.
  std::vector<Planted> place(const std::vector<LookUp>& look_ups, const std::vector<int64_t>& breaks,
                             int64_t first_answer, Draw* draw) const;
  Ending ending(int32_t id) const;
  // Returns the tokens after the first before which a line can stand: those after the end of a line, or of a
  // sentence in a line that goes on.
  std::vector<int64_t> breaks_of(std::span<const int32_t> tokens) const;

  const Tokenizer& tokenizer_;
  double share_;
  uint64_t seed_;
  std::vector<Ending> endings_;  // by id: what ends with the token
  int64_t n_longest_ = 0;        // tokens of the longest look-up that is asked for once
};

}  // namespace seer
