// The Jinja templates that turn a conversation into the prompt a model was trained on: the files they come
// from, their variables, and the ids of the text they write.
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
  std::string origin;  // a file's path, perhaps with the key that holds the text; for error messages
  std::string source;
};

// Returns the templates by name: "default", "tool_use" and others. They come from chat_template.jinja with
// additional_chat_templates/, else from chat_template of tokenizer_config.json, else from chat_template.json.
// Returns an empty map if the folder has none of them. Throws Error{kFile} for files that are malformed, and
// for several templates without a default.
std::map<std::string, TemplateText> read_chat_templates(const std::string& model_dir);

struct TemplateInput {
  OrderedJson messages;                        // an array of objects
  std::optional<OrderedJson> tools;            // an array of objects
  OrderedJson kwargs = OrderedJson::object();  // further variables
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  int64_t now = -1;  // seconds since 1970 for strftime_now; -1: read the clock
};

struct NamedTemplate;

// A PromptTemplate is immutable after construction, and many threads may use it.
class PromptTemplate {
 public:
  // `texts` come from read_chat_templates() and must not be empty. Throws Error{kUnsupported, kFile}, naming
  // file, line and construct, if one of the templates that are used ("default" and "tool_use") cannot be
  // interpreted.
  PromptTemplate(const std::map<std::string, TemplateText>& texts, std::string name);
  // Returns one of named_templates(). Throws Error{kUsage} that lists them for any other name.
  static PromptTemplate named(std::string_view name);
  static bool is_name(std::string_view name);

  // Renders the template as transformers' apply_chat_template does. `tokens` are TokenizerConfig's
  // named_texts; strings in them count as the template's own, and all of `input` counts as the messages'.
  // Throws Error{kUnsupported} with the template's own words if it refuses the conversation, and for a
  // construct or a limit. Throws Error{kUsage} for messages that are not as TemplateInput describes.
  MarkedText render(TemplateInput input, const std::map<std::string, std::string>& tokens) const;
  // Returns the ids of the rendered text. Special tokens are recognised in the template's own text only, and
  // so are other added tokens that the template spells out, such as transformers' control tokens. Thus a
  // message cannot forge a turn. Throws Error{kUnsupported} if the vocabulary lacks tokens that a named
  // template needs.
  std::vector<int32_t> encode(const MarkedText& rendered, const TextTokenizer& tokenizer) const;
  // Returns the last of these ids, those of the text from byte `from` on, or nothing if no token begins
  // there.
  std::optional<std::vector<int32_t>> encode_from(size_t from, const MarkedText& rendered,
                                                  const TextTokenizer& tokenizer) const;

  // Throws Error{kUnsupported} if the vocabulary lacks tokens that a named template needs.
  void require_tokens(const TextTokenizer& tokenizer) const;

  const std::string& name() const { return name_; }      // for people
  const std::string& source() const { return source_; }  // of the default template
  const std::string& all_sources() const { return all_text_; }
  bool takes_tools() const;

 private:
  const jinja::Template& chosen(const TemplateInput& input) const;
  std::vector<int32_t> spelled_out(const TextTokenizer& tokenizer) const;

  std::string name_, source_, all_text_;
  const NamedTemplate* named_ = nullptr;  // set if the template is a named one
  jinja::Template default_;
  std::optional<jinja::Template> with_tools_;
};

}  // namespace seer
