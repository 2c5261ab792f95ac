// <tool_call>{"name": "f", "arguments": {...}}</tool_call>, any number of them among other text.
#pragma once

#include <optional>

#include "tools/seer/serve/answers/marker_finder.h"
#include "tools/seer/serve/answers/pending_call.h"
#include "tools/seer/serve/answers/tool_parser.h"

namespace seer::serve {

class HermesParser final : public ToolParser {
 public:
  static std::vector<std::string> marks();
  HermesParser();
  void push(std::string_view text, DeltaList* out) override;
  void finish(DeltaList* out) override;

 private:
  void push(char byte, DeltaList* out);

  MarkerFinder finder_;
  std::optional<PendingCall> call_;  // the call that is being read
  bool after_call_ = false;          // the end mark of a call may come next
};

}  // namespace seer::serve
