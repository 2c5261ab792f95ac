// Tokenizers of published models.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "seer/tokenizer.h"

namespace seer::testing {

// The tokenizer of a folder, which is read once in a process: the largest take seconds under sanitizers,
// whose test program runs all cases in one. Not for several threads.
inline const Tokenizer& real_tokenizer(const std::filesystem::path& dir) {
  static std::map<std::string, decltype(Tokenizer::load(""))> loaded;
  auto& tokenizer = loaded[dir.string()];
  if (!tokenizer) tokenizer = Tokenizer::load(dir.string());
  return *tokenizer;
}

}  // namespace seer::testing
