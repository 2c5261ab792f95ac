#include "tokenizer/chat_template.h"

#include <algorithm>

#include "seer/error.h"
#include "tokenizer/named_templates.h"

namespace seer {
namespace {

// transformers appends this text to a message that is to be continued, and looks for it in the rendered text.
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";
// The names under which a message's reasoning is passed. Most templates read the first one.
constexpr const char* kReasoningNames[] = {"reasoning_content", "thinking", "reasoning"};

std::string_view without_last_space(std::string_view text) { return text.substr(0, text.size() - 1); }

[[noreturn]] void bad_messages(const std::string& what) {
  throw Error(ErrorKind::kUsage, "messages: " + what);
}

// Removes members that are null, and passes reasoning under every name that templates know, as transformers 5
// does.
void normalize_message(OrderedJson* message) {
  if (!message->is_object())
    bad_messages(std::string("expected objects with role and content, found ") + message->type_name());
  for (auto member = message->begin(); member != message->end();)
    member = member->is_null() ? message->erase(member) : std::next(member);
  for (const char* name : kReasoningNames) {
    if (!message->contains(name)) continue;
    const OrderedJson reasoning = (*message)[name];
    if (!message->contains("thinking")) (*message)["thinking"] = reasoning;
    (*message)["reasoning_content"] = reasoning;
    break;
  }
}

// Returns the last part of the content that is text.
std::string* final_text(OrderedJson* message) {
  const auto content = message->find("content");
  if (content == message->end()) return nullptr;
  if (content->is_string()) return content->get_ptr<std::string*>();
  if (!content->is_array()) return nullptr;
  for (auto part = content->rbegin(); part != content->rend(); ++part)
    if (part->is_object() && part->contains("text") && (*part)["text"].is_string())
      return (*part)["text"].get_ptr<std::string*>();
  return nullptr;
}

void cut_to(MarkedText* text, size_t size) {
  text->text.resize(size);
  auto& ranges = text->from_messages;
  while (!ranges.empty() && ranges.back().first >= size) ranges.pop_back();
  if (!ranges.empty()) ranges.back().second = std::min(ranges.back().second, size);
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1));
}

// Cuts the rendered text after the message that is to be continued. A template may have trimmed the tag's own
// space; then the message's space is cut too.
void cut_after_final_message(const std::string& content, MarkedText* rendered) {
  const size_t at = rendered->text.rfind(without_last_space(kContinueTag));
  if (at == std::string::npos || rendered->text.find(trimmed(content)) == std::string::npos)
    throw Error(ErrorKind::kUnsupported,
                "the chat template leaves out parts of the last message, so that it cannot be continued");
  const bool kept_space = rendered->text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  cut_to(rendered, at);
  if (!kept_space) cut_to(rendered, rendered->text.find_last_not_of(" \t\n\v\f\r") + 1);
}

std::string names_of_templates() {
  std::string names;
  for (const NamedTemplate& t : named_templates()) names += (names.empty() ? "" : ", ") + std::string(t.name);
  return names;
}

TemplateText text_of(std::string_view name) {
  const NamedTemplate* found = find_named_template(name);
  if (found == nullptr)
    throw Error(ErrorKind::kUsage, "expected a chat template's file or one of " + names_of_templates() +
                                       ", found '" + std::string(name) + "'");
  return {std::string(name), std::string(found->source)};
}

jinja::Template parse(const TemplateText& text) { return jinja::Template::parse(text.source, text.origin); }

}  // namespace

PromptTemplate::PromptTemplate(const std::map<std::string, TemplateText>& texts, std::string name)
    : name_(std::move(name)), source_(texts.at("default").source), default_(parse(texts.at("default"))) {
  all_text_ = source_;
  if (const auto found = texts.find("tool_use"); found != texts.end()) {
    with_tools_ = parse(found->second);
    all_text_ += found->second.source;
  }
}

PromptTemplate PromptTemplate::named(std::string_view name) {
  PromptTemplate result({{"default", text_of(name)}}, std::string(name));
  result.named_ = find_named_template(name);
  return result;
}

bool PromptTemplate::is_name(std::string_view name) { return find_named_template(name) != nullptr; }

bool PromptTemplate::takes_tools() const { return with_tools_.has_value() || default_.refers_to("tools"); }

const jinja::Template& PromptTemplate::chosen(const TemplateInput& input) const {
  return input.tools && with_tools_ ? *with_tools_ : default_;
}

MarkedText PromptTemplate::render(TemplateInput input,
                                  const std::map<std::string, std::string>& tokens) const {
  if (!input.messages.is_array() || input.messages.empty())
    bad_messages("expected an array of at least one message");
  if (input.kwargs.is_null()) input.kwargs = OrderedJson::object();
  if (!input.kwargs.is_object())
    throw Error(ErrorKind::kUsage, "the template's variables: expected an object, found " +
                                       std::string(input.kwargs.type_name()));
  for (const char* own : {"messages", "tools", "add_generation_prompt", "continue_final_message"})
    if (input.kwargs.contains(own))
      throw Error(ErrorKind::kUsage, std::string("the template's variables: '") + own +
                                         "' is given in a way of its own, and not among them");
  for (OrderedJson& message : input.messages) normalize_message(&message);
  std::string continued;
  if (input.continue_final_message) {
    std::string* text = final_text(&input.messages.back());
    if (text == nullptr) bad_messages("expected the last one to have content that can be continued");
    continued = *text;
    *text += kContinueTag;
  }
  OrderedJson given = OrderedJson::object(), own = OrderedJson::object();
  given["messages"] = std::move(input.messages);
  given["tools"] = input.tools ? std::move(*input.tools) : OrderedJson();
  given["documents"] = nullptr;
  given["add_generation_prompt"] = input.add_generation_prompt && !input.continue_final_message;
  for (auto& [key, value] : input.kwargs.get_ref<OrderedJson::object_t&>()) given[key] = std::move(value);
  for (const auto& [key, text] : tokens)
    if (!given.contains(key)) own[key] = text;
  jinja::RenderOptions options;
  options.now = input.now;
  MarkedText rendered = chosen(input).render(std::move(own), std::move(given), options);
  if (input.continue_final_message) cut_after_final_message(continued, &rendered);
  return rendered;
}

std::vector<int32_t> PromptTemplate::spelled_out(const TextTokenizer& tokenizer) const {
  std::vector<int32_t> ids;
  for (const auto& [id, text] : tokenizer.added_tokens_in(all_text_))
    if (!trimmed(text).empty()) ids.push_back(id);
  return ids;
}

std::vector<int32_t> PromptTemplate::encode(const MarkedText& rendered,
                                            const TextTokenizer& tokenizer) const {
  require_tokens(tokenizer);
  std::vector<int32_t> ids = tokenizer.encode(rendered, spelled_out(tokenizer));
  if (named_ != nullptr && named_->plain && tokenizer.add_bos()) ids.insert(ids.begin(), tokenizer.bos_id());
  return ids;
}

std::optional<std::vector<int32_t>> PromptTemplate::encode_from(size_t from, const MarkedText& rendered,
                                                                const TextTokenizer& tokenizer) const {
  MarkedText before = rendered;
  cut_to(&before, from);
  const std::vector<int32_t> first = encode(before, tokenizer);
  std::vector<int32_t> all = encode(rendered, tokenizer);
  if (first.size() > all.size() || !std::equal(first.begin(), first.end(), all.begin())) return std::nullopt;
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first.size()));
  return all;
}

void PromptTemplate::require_tokens(const TextTokenizer& tokenizer) const {
  if (named_ == nullptr) return;
  for (const std::string_view token : named_->needs)
    if (tokenizer.added_id(token) < 0)
      throw Error(ErrorKind::kUnsupported, "the chat template " + name_ + " needs the token " +
                                               std::string(token) +
                                               ", which this vocabulary lacks. Name another with "
                                               "--chat-template.");
}

}  // namespace seer
