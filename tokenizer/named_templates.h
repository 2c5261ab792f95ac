// Chat templates that come with the program, for models whose files have none. Their texts are the files of
// tokenizer/templates/, which CMake writes into the library.
#pragma once

#include <span>
#include <string_view>

namespace seer {

struct NamedTemplate {
  std::string_view name;
  std::string_view source;  // Jinja
  // Tokens without which the template's text would be read as something else than its author meant.
  std::span<const std::string_view> needs;
  bool plain = false;  // its text gets a BOS as any text does, by the files' policy
};

// llama2, llama3, chatml, mistral and none, which joins the messages as plain text.
std::span<const NamedTemplate> named_templates();
const NamedTemplate* find_named_template(std::string_view name);  // null: there is none of this name

}  // namespace seer
