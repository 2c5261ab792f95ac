// --chat-template and --chat-template-kwargs, for every command that makes prompts of messages.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "seer/tokenizer.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct ChatTemplateOptions {
  std::optional<std::string> name;  // as it was given: auto, a name or a file
  std::string kwargs;               // a JSON object; empty: none

  void add_to(Args& args, const std::string& standard);
  bool given() const { return name.has_value() || !kwargs.empty(); }
  // The one that is named, or the model's own. Throws Error{kUsage} if neither is there, Error{kFile,
  // kUnsupported} for one that cannot be interpreted.
  std::shared_ptr<const ChatTemplate> load(const Tokenizer& tokenizer) const;
};

// Throws Error{kUsage}, naming the option, for a text that is not a JSON object.
std::string checked_kwargs(const std::string& text);

}  // namespace seer::cli
