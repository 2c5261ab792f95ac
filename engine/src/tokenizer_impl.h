#pragma once

#include <memory>
#include <string>

#include "seer/tokenizer.h"
#include "tokenizer/tokenizer.h"

namespace seer {

struct Tokenizer::Impl {
  std::unique_ptr<TextTokenizer> tokenizer;
  std::string chat_template;  // the recognised one's name; empty: none
};

}  // namespace seer
