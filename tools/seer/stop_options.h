// The options for the end of an answer: strings and ids that end it, and how many tokens must come first.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct StopOptions {
  std::vector<std::string> stop, stop_ids;
  int64_t min_tokens = 0;
  bool ignore_eos = false;

  // `what` names the text that ends: "the completion", "an answer".
  void add_to(Args& args, const std::string& what);
  // Call it before a model is loaded. Throws Error{kUsage} for an empty text, or if --min-tokens exceeds
  // `most_tokens` (-1: no limit).
  void check(int64_t most_tokens) const;
  // Throws Error{kUsage} for an id that the model does not have, or for a name that no token has.
  void apply(const Engine& engine, GenerateRequest* request) const;
};

}  // namespace seer::cli
