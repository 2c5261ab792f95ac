// seer inspect with a prompt: the choices of the gates in numbers, in pictures and as a dump.
#pragma once

#include <optional>
#include <string>

#include "tools/seer/input.h"
#include "tools/seer/model_options.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {

struct PromptInspection {
  PromptOptions prompt;
  SparseOptions sparse;
  std::optional<int64_t> prompt_tokens;
  std::optional<std::string> dump, maps, show;
  std::optional<int64_t> last_logits;
  bool parse_special = false;

  void add_to(Args& args);
  bool is_wanted() const;     // whether there is a prompt, or an option that needs one (then from stdin)
  void check_unused() const;  // throws Error{kUsage} if an option needs a prompt and there is none
};

// Returns an ExitCode. `output` is "text" or "json".
int inspect_prompt(const PromptInspection& options, const ModelOptions& model, const std::string& output);

}  // namespace seer::cli
