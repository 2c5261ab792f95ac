// Chat templates that come with the program, for models whose files have none. Their texts are the files in
// tokenizer/templates/, which CMake writes into the library.
#pragma once

#include <span>
#include <string_view>

namespace seer {

struct NamedTemplate {
  std::string_view name;
  std::string_view source;  // Jinja
  // Tokens that the vocabulary must have. Without them the template's text would be read differently from its
  // author's intention.
  std::span<const std::string_view> needs;
  bool plain = false;  // its text gets a BOS as any text does, by the policy of the files
};

// Returns llama2, llama3, chatml, mistral and none. "none" joins the messages as plain text.
std::span<const NamedTemplate> named_templates();
const NamedTemplate* find_named_template(std::string_view name);  // null if there is none of this name

}  // namespace seer
