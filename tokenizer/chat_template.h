// The four chat formats that Llama-family checkpoints use, written in C++ instead of run from Jinja.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace seer {

struct ChatTurn {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

enum class ChatFormat { kLlama2, kLlama3, kChatMl, kMistral };

// "llama2", "llama3", "chatml", "mistral"; throws Error{kUsage} that lists them.
ChatFormat parse_chat_format(std::string_view name);
std::string_view chat_format_name(ChatFormat format);

// Recognises the Jinja template text of tokenizer_config.json (or chat_template.jinja beside it) by the marks
// each format must write. Returns false where it is none of the four.
bool recognise_chat_format(std::string_view jinja, ChatFormat* format);
// The model folder's chat template text; empty where there is none. A list of named templates gives
// "default".
std::string read_chat_template(const std::string& model_dir);

// The ids of the conversation up to where the assistant's answer begins, BOS included as the format has it.
// Content is never parsed for special tokens, so that a message cannot forge a turn.
// Throws Error{kUsage} for an unknown role or turns out of order, Error{kUnsupported} where the vocabulary
// lacks the format's special tokens.
std::vector<int32_t> encode_chat(const std::vector<ChatTurn>& turns, ChatFormat format,
                                 const TextTokenizer& tokenizer);

}  // namespace seer
