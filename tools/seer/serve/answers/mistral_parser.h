// Finds calls after the mark [TOOL_CALLS]: either an array, [{"name": "f", "arguments": {...}}, ...], or a
// name and its arguments, f[ARGS]{...} or f{...}, with a mark of its own for each call.
#pragma once

#include <optional>

#include "tools/seer/serve/answers/marker_finder.h"
#include "tools/seer/serve/answers/pending_call.h"
#include "tools/seer/serve/answers/tool_parser.h"

namespace seer::serve {

class MistralParser final : public ToolParser {
 public:
  static std::vector<std::string> marks();
  MistralParser();
  void push(std::string_view text, DeltaList* out) override;
  void finish(DeltaList* out) override;

 private:
  enum class Place { kText, kAfterMark, kName, kCallId, kBeforeArguments, kInCall, kInArray, kAfterComma };

  void push(char byte, DeltaList* out);
  void after_mark(char byte, DeltaList* out);
  void begin_call(std::string name);
  void in_call(char byte, DeltaList* out);
  void give_up(DeltaList* out);
  void mark_found(size_t mark, DeltaList* out);

  MarkerFinder finder_;
  Place place_ = Place::kText;
  bool array_ = false;  // the call is an element of an array
  std::string before_;  // text since the mark, or since the last call of an array
  std::string name_;
  std::optional<PendingCall> call_;  // set in kInCall
};

}  // namespace seer::serve
