#include "tools/seer/serve/answers/reasoning.h"

#include <utility>

#include "tools/seer/serve/answers/white_space.h"

namespace seer::serve {
namespace {

constexpr size_t kOpens = 0, kCloses = 1;  // numbers of the marks

}  // namespace

const std::vector<std::string>& thinking_marks() {
  static const std::vector<std::string> marks = {"<think>", "</think>"};
  return marks;
}

bool template_thinks(std::string_view chat_template) {
  return chat_template.find(thinking_marks()[kCloses]) != std::string_view::npos;
}

Thinking thinking_after(std::string_view prompt_end) {
  while (!prompt_end.empty() && is_space(prompt_end.back())) prompt_end.remove_suffix(1);
  if (prompt_end.ends_with(thinking_marks()[kOpens])) return Thinking::kInside;
  return prompt_end.ends_with(thinking_marks()[kCloses]) ? Thinking::kNone : Thinking::kMay;
}

ReasoningSplitter::ReasoningSplitter(Thinking start)
    : place_(start == Thinking::kInside ? Place::kInside
             : start == Thinking::kMay  ? Place::kStart
                                        : Place::kContent),
      finder_(thinking_marks()) {}

void ReasoningSplitter::push(std::string_view text, std::string* reasoning, std::string* content) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (place_ == Place::kContent) {
      *content += text.substr(i);
      return;
    }
    push(text[i], reasoning, content);
  }
}

void ReasoningSplitter::push(char byte, std::string* reasoning, std::string* content) {
  if (place_ == Place::kAfter) {
    if (is_space(byte)) return;
    place_ = Place::kContent;
    *content += byte;
    return;
  }
  std::string text;
  const std::optional<size_t> mark = finder_.push(byte, &text);
  if (place_ == Place::kInside) {
    think(text, reasoning);
    if (mark == kCloses) place_ = Place::kAfter;
    // Some models write a second opening mark although their prompt has opened their thinking. Later in a
    // thought, the mark is text.
    if (mark == kOpens && thought_) think(thinking_marks()[kOpens], reasoning);
    if (mark) space_.clear();
    return;
  }
  space_ += text;
  const bool only_space = space_.find_first_not_of(" \t\n\r") == std::string::npos;
  if (only_space && mark == kOpens) {
    place_ = Place::kInside;
    space_.clear();
  } else if (!only_space || mark) {
    place_ = Place::kContent;
    *content += std::exchange(space_, {}) + (mark ? thinking_marks()[*mark] : "") + finder_.flush();
  }
}

void ReasoningSplitter::think(const std::string& text, std::string* reasoning) {
  for (const char c : text) {
    space_ += c;
    if (is_space(c)) continue;
    if (!thought_) space_.erase(0, space_.find_first_not_of(" \t\n\r"));
    thought_ = true;
    *reasoning += std::exchange(space_, {});
  }
}

void ReasoningSplitter::finish(std::string* reasoning, std::string* content) {
  const std::string rest = finder_.flush();
  if (place_ == Place::kInside) {
    think(rest, reasoning);
  } else if (place_ == Place::kStart) {
    *content += space_ + rest;
  }
  space_.clear();
}

}  // namespace seer::serve
