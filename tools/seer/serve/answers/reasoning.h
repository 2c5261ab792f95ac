// Where a model's thinking ends and its answer begins: <think>...</think>.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/seer/serve/answers/marker_finder.h"

namespace seer::serve {

enum class Thinking {
  kNone,    // the answer has none: everything is content
  kMay,     // the answer may begin with <think>
  kInside,  // the prompt has opened it already
};

// Whether a chat template is one of a model that thinks.
bool template_thinks(std::string_view chat_template);
// Of an answer to a prompt of such a model that ends like this.
Thinking thinking_after(std::string_view prompt_end);

const std::vector<std::string>& thinking_marks();

// Splits an answer that comes in pieces, cut anywhere. White space next to the marks belongs to neither part.
class ReasoningSplitter {
 public:
  explicit ReasoningSplitter(Thinking start);
  // Appends what is new to either.
  void push(std::string_view text, std::string* reasoning, std::string* content);
  void finish(std::string* reasoning, std::string* content);

 private:
  enum class Place { kStart, kInside, kAfter, kContent };

  void push(char byte, std::string* reasoning, std::string* content);
  void think(const std::string& text, std::string* reasoning);

  Place place_;
  MarkerFinder finder_;
  std::string space_;     // held back: of the beginning, or within reasoning
  bool thought_ = false;  // some reasoning has been given out
};

}  // namespace seer::serve
