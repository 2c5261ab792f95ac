// The options --chat-template and --chat-template-kwargs, for every command that turns messages into prompts.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "seer/tokenizer.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct ChatTemplateOptions {
  std::optional<std::string> name;  // as given: auto, a name or a file
  std::string kwargs;               // a JSON object; empty if none was given

  void add_to(Args& args, const std::string& standard);
  bool given() const { return name.has_value() || !kwargs.empty(); }
  // Returns the template named by the option, or the model's own. Throws Error{kUsage} if there is neither,
  // and Error{kFile, kUnsupported} for a template that cannot be interpreted.
  std::shared_ptr<const ChatTemplate> load(const Tokenizer& tokenizer) const;
};

// Returns the text. Throws Error{kUsage}, naming the option, if it is not a JSON object.
std::string checked_kwargs(const std::string& text);

}  // namespace seer::cli
