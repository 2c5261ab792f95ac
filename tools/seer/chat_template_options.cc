#include "tools/seer/chat_template_options.h"

#include "engine/base/json_reader.h"

namespace seer::cli {

std::string checked_kwargs(const std::string& text) {
  const std::string expected = "expected a JSON object such as {\"enable_thinking\": false}, found ";
  try {
    const Json json = read_json(text);
    if (!json.is_object()) throw Error(ErrorKind::kUsage, expected + json_excerpt(json));
  } catch (const JsonError& error) {
    throw Error(ErrorKind::kUsage, expected + json_excerpt(text) + ": " + error.what());
  }
  return text;
}

void ChatTemplateOptions::add_to(Args& args, const std::string& standard) {
  args.value(
      "--chat-template", "NAME|FILE", standard,
      "how messages become a prompt: auto is the model's own, a file holds a Jinja template, and llama2, "
      "llama3, chatml, mistral and none (messages as plain text) come with the program",
      into(name));
  args.value("--chat-template-kwargs", "JSON", "none",
             "an object with further variables of the template, such as {\"enable_thinking\": false}",
             [this](const std::string& value) { kwargs = checked_kwargs(value); });
}

std::shared_ptr<const ChatTemplate> ChatTemplateOptions::load(const Tokenizer& tokenizer) const {
  if (name && *name != "auto") {
    auto named = ChatTemplate::load(*name);
    tokenizer.check_chat_template(*named);
    return named;
  }
  if (auto own = tokenizer.chat_template()) return own;
  throw Error(
      ErrorKind::kUsage,
      "the model's files have no chat template; name the one it was trained with by --chat-template: a "
      "Jinja file, llama2, llama3, chatml, mistral, or none for plain text");
}

}  // namespace seer::cli
