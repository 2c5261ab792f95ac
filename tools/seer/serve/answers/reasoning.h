// Finds the end of a model's thinking, <think>...</think>, and the beginning of its answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/seer/serve/answers/marker_finder.h"

namespace seer::serve {

enum class Thinking {
  kNone,    // the answer has no thinking: everything is content
  kMay,     // the answer may begin with <think>
  kInside,  // the prompt has opened it already
};

// Returns whether a chat template belongs to a model that thinks.
bool template_thinks(std::string_view chat_template);
// Returns how the answer begins, if a prompt of such a model ends like this.
Thinking thinking_after(std::string_view prompt_end);

const std::vector<std::string>& thinking_marks();

// Splits an answer into reasoning and content. It may come in pieces, cut anywhere. White space next to the
// marks belongs to neither part.
class ReasoningSplitter {
 public:
  explicit ReasoningSplitter(Thinking start);
  // Appends the new text to one or both.
  void push(std::string_view text, std::string* reasoning, std::string* content);
  void finish(std::string* reasoning, std::string* content);

 private:
  enum class Place { kStart, kInside, kAfter, kContent };

  void push(char byte, std::string* reasoning, std::string* content);
  void think(const std::string& text, std::string* reasoning);

  Place place_;
  MarkerFinder finder_;
  std::string space_;     // white space held back: at the beginning, or within reasoning
  bool thought_ = false;  // some reasoning has been given out
};

}  // namespace seer::serve
