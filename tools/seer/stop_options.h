// Where an answer ends: strings and ids that end it, and how many tokens come before any of them may.
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

  // `what` ends: "the completion", "an answer".
  void add_to(Args& args, const std::string& what);
  // Before a model is loaded. Throws Error{kUsage} for an empty text, or for at least more tokens than at
  // most
  // (-1: any number).
  void check(int64_t most_tokens) const;
  // Throws Error{kUsage} for an id that the model does not have or a name that is no token's.
  void apply(const Engine& engine, GenerateRequest* request) const;
};

}  // namespace seer::cli
