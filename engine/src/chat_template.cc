#include "seer/chat.h"

#include <utility>

#include "engine/base/file_reader.h"
#include "engine/base/stop_check.h"
#include "engine/src/chat_template_impl.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

constexpr size_t kWorkPerJsonCheck = 4096;  // JSON values read between two checks

std::shared_ptr<const ChatTemplate> made_of(PromptTemplate prompt) {
  return std::make_shared<const ChatTemplate>(
      std::make_unique<ChatTemplate::Impl>(ChatTemplate::Impl{std::move(prompt)}));
}

OrderedJson parsed(const std::string& text, const char* name, OrderedJson::value_t type) {
  OrderedJson value = parse_json_text(text, name, [] { StopCheck::work(kWorkPerJsonCheck); });
  if (value.type() != type)
    throw Error(ErrorKind::kUsage, std::string(name) + ": expected a JSON " + OrderedJson(type).type_name() +
                                       ", found " + value.type_name());
  return value;
}

}  // namespace

ChatPrompt::ChatPrompt(const std::vector<ChatMessage>& chat_messages) {
  OrderedJson array = OrderedJson::array();
  for (const ChatMessage& message : chat_messages)
    array.push_back({{"role", message.role}, {"content", message.content}});
  messages = array.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

TemplateInput template_input(const ChatPrompt& prompt) {
  using Type = OrderedJson::value_t;
  constexpr int64_t kLastSecond = 253402300799;  // the last second of the year 9999, at which Python's dates
                                                 // end too
  if (prompt.now < -1 || prompt.now > kLastSecond)
    throw Error(ErrorKind::kUsage, "expected a time (now) of 0 to " + std::to_string(kLastSecond) +
                                       " seconds since 1970, or -1 for the clock's, found " +
                                       std::to_string(prompt.now));
  TemplateInput input;
  input.messages = parsed(prompt.messages, "messages", Type::array);
  if (!prompt.tools.empty()) input.tools = parsed(prompt.tools, "tools", Type::array);
  if (!prompt.kwargs.empty()) input.kwargs = parsed(prompt.kwargs, "the template's variables", Type::object);
  input.add_generation_prompt = prompt.add_generation_prompt;
  input.continue_final_message = prompt.continue_final_message;
  input.now = prompt.now;
  return input;
}

std::shared_ptr<const ChatTemplate> template_of_texts(const std::map<std::string, TemplateText>& texts) {
  return texts.empty() ? nullptr : made_of(PromptTemplate(texts, texts.at("default").origin));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::of_model(const std::string& model_dir) {
  return template_of_texts(read_chat_templates(model_dir));
}

std::shared_ptr<const ChatTemplate> ChatTemplate::load(const std::string& name_or_file) {
  std::optional<std::string> source;
  if (!PromptTemplate::is_name(name_or_file))
    source = read_whole_file_if_there(name_or_file, jinja::kMaxSource);
  if (!source) return made_of(PromptTemplate::named(name_or_file));
  return made_of(PromptTemplate({{"default", {name_or_file, std::move(*source)}}}, name_or_file));
}

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::name() const { return impl_->prompt.name(); }
const std::string& ChatTemplate::source() const { return impl_->prompt.source(); }
const std::string& ChatTemplate::all_sources() const { return impl_->prompt.all_sources(); }
bool ChatTemplate::takes_tools() const { return impl_->prompt.takes_tools(); }

std::string ChatTemplate::render(const ChatPrompt& prompt,
                                 const std::map<std::string, std::string>& tokens) const {
  return impl_->prompt.render(template_input(prompt), tokens).text;
}

}  // namespace seer
