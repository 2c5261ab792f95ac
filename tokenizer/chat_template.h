// The Jinja templates that turn a conversation into the prompt a model was trained on: where they come from,
// what they are given, and the ids of what they write.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "tokenizer/jinja/template.h"
#include "tokenizer/marked_text.h"
#include "tokenizer/tokenizer.h"

namespace seer {

struct TemplateText {
  std::string origin;  // a file's path, maybe with the key that holds it; for error messages
  std::string source;
};

// Texts by name: "default", "tool_use" and others. Of chat_template.jinja with additional_chat_templates/,
// else of chat_template of tokenizer_config.json, else of chat_template.json; empty if the folder has none of
// them. Throws Error{kFile} for files that are malformed, and for several templates without a default.
std::map<std::string, TemplateText> read_chat_templates(const std::string& model_dir);

struct TemplateInput {
  OrderedJson messages;                        // an array of objects
  std::optional<OrderedJson> tools;            // an array of objects
  OrderedJson kwargs = OrderedJson::object();  // further variables
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  int64_t now = -1;  // seconds since 1970 for strftime_now; -1: the clock
};

struct NamedTemplate;

// Immutable after construction, safe from many threads.
class PromptTemplate {
 public:
  // `texts` as read_chat_templates() returns them, not empty. Throws Error{kUnsupported, kFile} that names
  // file, line and construct if one of those that are used ("default" and "tool_use") cannot be interpreted.
  PromptTemplate(const std::map<std::string, TemplateText>& texts, std::string name);
  // One of named_templates(); throws Error{kUsage} that lists them for any other name.
  static PromptTemplate named(std::string_view name);
  static bool is_name(std::string_view name);

  // As transformers' apply_chat_template renders it. `tokens` are TokenizerConfig's named_texts; strings in
  // them are the template's own, all of `input` is the messages'. Throws Error{kUnsupported}: the
  // template's own words if it refuses the conversation, a construct or a limit; Error{kUsage} for messages
  // that are not what TemplateInput says.
  MarkedText render(TemplateInput input, const std::map<std::string, std::string>& tokens) const;
  // The ids of the rendered text. Special tokens are recognised in the template's own text
  // only, and so are other added tokens that the template spells out, as in transformers' control tokens: a
  // message cannot forge a turn. Throws Error{kUnsupported} if the vocabulary lacks tokens that a named
  // template needs.
  std::vector<int32_t> encode(const MarkedText& rendered, const TextTokenizer& tokenizer) const;
  // The last of these ids, those of the text from byte `from` on; absent if no token begins there.
  std::optional<std::vector<int32_t>> encode_from(size_t from, const MarkedText& rendered,
                                                  const TextTokenizer& tokenizer) const;

  // Throws Error{kUnsupported} if the vocabulary lacks tokens that a named template needs.
  void require_tokens(const TextTokenizer& tokenizer) const;

  const std::string& name() const { return name_; }      // for people
  const std::string& source() const { return source_; }  // the default's
  const std::string& all_sources() const { return all_text_; }
  bool takes_tools() const;

 private:
  const jinja::Template& chosen(const TemplateInput& input) const;
  std::vector<int32_t> spelled_out(const TextTokenizer& tokenizer) const;

  std::string name_, source_, all_text_;
  const NamedTemplate* named_ = nullptr;  // if it is one of those
  jinja::Template default_;
  std::optional<jinja::Template> with_tools_;
};

}  // namespace seer
