// A bound on how much text can become few tokens. It allows a text to be refused for its length.
#pragma once

#include <algorithm>
#include <cstdint>

namespace seer {

// Collects how much of a text the steps of a tokenizer may remove. Each step that removes something must say
// so here.
class TextBound {
 public:
  // Call it for a step after which one byte may stand for up to `n` bytes before the step, or for
  // `n_of_ascii` if the whole text is ASCII.
  void shrink(int64_t n, int64_t n_of_ascii) {
    multiply(n, &factor_);
    multiply(n_of_ascii, &ascii_factor_);
  }
  // Call it for a step that may drop any amount of text.
  void drop() { drops_ = true; }
  // Call it for a step that may drop any amount of white space, but nothing else.
  void drop_space() { drops_space_ = true; }
  // Call it for a step that may turn other characters into white space, which another step may drop.
  void make_space() { makes_space_ = true; }

  // Adds to `other` the removals noted here.
  void combine(TextBound* other) const {
    other->shrink(factor_, ascii_factor_);
    other->drops_ = other->drops_ || drops_;
    other->drops_space_ = other->drops_space_ || drops_space_;
    other->makes_space_ = other->makes_space_ || makes_space_;
  }

  // Returns whether a long text must have many tokens.
  bool holds() const { return !drops_ && !(drops_space_ && makes_space_) && factor_ <= kMaxFactor; }
  bool counts_space() const { return !drops_space_; }
  int64_t factor() const { return factor_; }
  int64_t ascii_factor() const { return ascii_factor_; }

 private:
  static constexpr int64_t kMaxFactor = 1000;  // beyond this factor the bound is too weak to be of use
  static void multiply(int64_t n, int64_t* factor) {
    if (*factor <= kMaxFactor) *factor *= std::max<int64_t>(n, 1);
  }

  bool drops_ = false, drops_space_ = false, makes_space_ = false;
  int64_t factor_ = 1, ascii_factor_ = 1;
};

}  // namespace seer
