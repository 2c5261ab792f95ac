// seer inspect --dump: logits, gate scores and masks of one prompt, named as in the goldens.
#pragma once

#include <optional>
#include <string>

#include "tools/seer/input.h"
#include "tools/seer/model_options.h"

namespace seer::cli {

struct DumpOptions {
  std::optional<std::string> file;
  PromptOptions prompt;
  std::optional<SparseRule> sparse;
  std::optional<int64_t> last_logits;
  bool parse_special = false;

  void add_to(Args& args);
  void check_unused() const;  // throws Error{kUsage} where an option of the dump came without --dump
};

// Writes options.file and says on stderr what went into it. Returns an ExitCode.
int run_dump(const DumpOptions& options, const ModelOptions& model);

}  // namespace seer::cli
