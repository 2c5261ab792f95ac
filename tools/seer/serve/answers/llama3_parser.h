// Finds calls in an answer that is {"name": "f", "parameters": {...}}, or several of these with ';' between
// them. They may also follow the mark <|python_tag|> anywhere in an answer.
#pragma once

#include <optional>

#include "tools/seer/serve/answers/marker_finder.h"
#include "tools/seer/serve/answers/pending_call.h"
#include "tools/seer/serve/answers/tool_parser.h"

namespace seer::serve {

class Llama3Parser final : public ToolParser {
 public:
  static std::vector<std::string> marks();
  explicit Llama3Parser(std::function<bool(const std::string&)> is_tool);
  void push(std::string_view text, DeltaList* out) override;
  void finish(DeltaList* out) override;

 private:
  enum class Place { kStart, kAfterMark, kInCall, kAfterCall, kText };

  void push(char byte, DeltaList* out);
  void outside(char byte, DeltaList* out);

  const std::function<bool(const std::string&)> is_tool_;
  MarkerFinder finder_;
  Place place_ = Place::kStart;
  std::string before_;   // text before the call that may begin now: a mark, a semicolon, white space
  bool marked_ = false;  // before_ holds the mark, which alone announces a call
  std::optional<PendingCall> call_;  // set in kInCall
  bool broken_ = false;              // the call is broken, so the rest of the answer belongs to it
};

}  // namespace seer::serve
