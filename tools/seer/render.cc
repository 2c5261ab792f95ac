// seer render: shows the text that a chat template makes of messages.
#include <ctime>

#include "seer/tokenizer.h"

#include "tools/seer/chat_template_options.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/input.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kRenderDescription =
    "Prints the prompt that a chat template makes of messages, byte for byte and without a newline after it, "
    "as "
    "transformers' apply_chat_template renders it; with --ids, its token ids on one line. Needs the files of "
    "a "
    "tokenizer only, and without --ids not even those.";

// Returns the seconds since 1970 for YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS in the local time zone.
int64_t parse_date(const std::string& text) {
  std::tm date{};
  date.tm_isdst = -1;
  const char* end = strptime(text.c_str(), "%Y-%m-%d", &date);
  if (end != nullptr && *end == 'T') end = strptime(end, "T%H:%M:%S", &date);
  if (end == nullptr || *end != '\0')
    throw Error(ErrorKind::kUsage, "expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, found '" + text + "'");
  return std::mktime(&date);
}

struct RenderOptions {
  static constexpr CommandHead kHead = {
      "render", "[-m DIR] [--chat-template NAME|FILE] --messages FILE [options]", kRenderDescription};

  std::string model_dir, messages, tools;
  ChatTemplateOptions chat_template;
  std::map<std::string, std::string> tokens;
  ChatPrompt prompt;
  bool no_generation_prompt = false, ids = false, raw = false;

  void add_to(Args& args) {
    add_model_dir(args, model_dir);
    args.group("Prompt");
    args.value("--messages", "FILE", "required", "a JSON array of messages with role and content; - is stdin",
               into(messages));
    args.value("--tools", "FILE", "none", "a JSON array of the tools that the template is told of",
               into(tools));
    chat_template.add_to(args, "auto");
    args.value("--bos-token", "TEXT", "the model's", "what the template's bos_token stands for",
               [this](const std::string& value) { tokens["bos_token"] = value; });
    args.value("--eos-token", "TEXT", "the model's", "what the template's eos_token stands for",
               [this](const std::string& value) { tokens["eos_token"] = value; });
    args.value("--date", "YYYY-MM-DD", "now", "the time for templates that write it; THH:MM:SS may follow",
               [this](const std::string& value) { prompt.now = parse_date(value); });
    args.flag("--no-generation-prompt", no_generation_prompt, "leave out what opens the assistant's answer");
    args.flag("--continue", prompt.continue_final_message,
              "end with the last message's content, to be continued");
    args.flag("--ids", ids, "print the prompt's token ids");
    args.flag("--raw", raw, kRawHelp);
  }

  void check() const {
    if (messages.empty()) throw Error(ErrorKind::kUsage, "--messages is missing: expected a JSON file");
    const bool own = !chat_template.name || *chat_template.name == "auto";
    if (model_dir.empty() && own)
      throw Error(ErrorKind::kUsage, "expected a model's folder (-m), a template (--chat-template), or both");
    if (!model_dir.empty()) require_model_dir(model_dir);
    if (ids && model_dir.empty())
      throw Error(ErrorKind::kUsage, "--ids needs the tokenizer of a model's folder (-m)");
    if (ids && !tokens.empty())
      throw Error(ErrorKind::kUsage,
                  "--bos-token and --eos-token are for text; with --ids the model's count");
  }
};

std::string rendered_without_ids(const RenderOptions& options) {
  if (options.model_dir.empty())
    return ChatTemplate::load(*options.chat_template.name)->render(options.prompt, options.tokens);
  const auto tokenizer = Tokenizer::load(options.model_dir);
  const auto chat_template = options.chat_template.load(*tokenizer);
  if (options.tokens.empty()) return tokenizer->render_chat(options.prompt, chat_template.get());
  std::map<std::string, std::string> tokens = tokenizer->token_variables();
  for (const auto& [name, text] : options.tokens) tokens[name] = text;
  return chat_template->render(options.prompt, tokens);
}

}  // namespace

CommandTable describe_render() { return table_of<RenderOptions>(); }

int run_render(const Arguments& arguments) {
  RenderOptions options;
  Args args(RenderOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  if (options.raw) leave_stdout_raw();
  options.check();
  options.prompt.messages = read_bytes(options.messages);
  if (!options.tools.empty()) options.prompt.tools = read_bytes(options.tools);
  options.prompt.kwargs = options.chat_template.kwargs;
  options.prompt.add_generation_prompt = !options.no_generation_prompt;
  if (!options.ids) {
    write_stdout(rendered_without_ids(options));
    return kDone;
  }
  const auto tokenizer = Tokenizer::load(options.model_dir);
  const auto chat_template = options.chat_template.load(*tokenizer);
  write_stdout(join_ids(tokenizer->encode_chat(options.prompt, chat_template.get())) + "\n");
  return kDone;
}

}  // namespace seer::cli
