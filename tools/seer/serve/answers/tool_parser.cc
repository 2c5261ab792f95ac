#include "tools/seer/serve/answers/tool_parser.h"

#include "tools/seer/serve/answers/hermes_parser.h"
#include "tools/seer/serve/answers/llama3_parser.h"
#include "tools/seer/serve/answers/mistral_parser.h"

namespace seer::serve {
namespace {

class PlainText final : public ToolParser {
 public:
  void push(std::string_view text, DeltaList* out) override { out->plain(text); }
  void finish(DeltaList*) override {}
};

}  // namespace

const char* tool_form_name(ToolForm form) {
  switch (form) {
    case ToolForm::kHermes:
      return "hermes";
    case ToolForm::kLlama3:
      return "llama3";
    case ToolForm::kMistral:
      return "mistral";
    case ToolForm::kUnknown:
      return "unknown";
    case ToolForm::kNone:
      break;
  }
  return "none";
}

ToolForm tool_form_of(std::string_view chat_template) {
  const auto has = [&](std::string_view text) { return chat_template.find(text) != std::string_view::npos; };
  if (has("<function=")) return ToolForm::kUnknown;  // the form of Qwen3-Coder and functionary
  if (has("<tool_call>")) return ToolForm::kHermes;
  if (has("[TOOL_CALLS]")) return ToolForm::kMistral;
  // Llama 3.2's template does not contain the mark.
  if (has("<|python_tag|>") || (has("ipython") && has("\"parameters\""))) return ToolForm::kLlama3;
  return ToolForm::kNone;
}

std::vector<std::string> marks_of(ToolForm form) {
  switch (form) {
    case ToolForm::kHermes:
      return HermesParser::marks();
    case ToolForm::kLlama3:
      return Llama3Parser::marks();
    case ToolForm::kMistral:
      return MistralParser::marks();
    case ToolForm::kUnknown:
    case ToolForm::kNone:
      break;
  }
  return {};
}

std::unique_ptr<ToolParser> make_tool_parser(ToolForm form, std::function<bool(const std::string&)> is_tool) {
  switch (form) {
    case ToolForm::kHermes:
      return std::make_unique<HermesParser>();
    case ToolForm::kLlama3:
      return std::make_unique<Llama3Parser>(std::move(is_tool));
    case ToolForm::kMistral:
      return std::make_unique<MistralParser>();
    case ToolForm::kUnknown:
    case ToolForm::kNone:
      break;
  }
  return std::make_unique<PlainText>();
}

}  // namespace seer::serve
