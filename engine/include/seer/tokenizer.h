// Text to token ids and back, from the files beside a Hugging Face checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "seer/error.h"

namespace seer {

struct SEER_API ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// What was read of a tokenizer's files, for people.
struct SEER_API TokenizerInfo {
  std::string kind;        // "sentencepiece", "bpe (byte-level)" or "bpe (metaspace)"
  std::string normalizer;  // "NFC", "Prepend, Replace", "none"
  std::string splits;      // how a text becomes words: "Qwen2 pattern", "3 regular expressions", "none"
  int64_t n_added = 0;     // added tokens, the special ones among them
  int64_t n_special = 0;
  bool adds_bos = false;  // whether encode puts BOS before a text
  bool adds_eos = false;  // and EOS after it
  std::string note;       // something in the files that was not followed, and why; empty: nothing
};

// Immutable after load; every const function may be called from many threads at once. Nothing that is
// returned refers to it.
class SEER_API Tokenizer {
 public:
  // Reads tokenizer.json or tokenizer.model, and tokenizer_config.json where present, from `model_dir`.
  // Throws Error{kFile} where none is there or one is malformed, Error{kUnsupported} for another kind.
  static std::shared_ptr<const Tokenizer> load(const std::string& model_dir);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // `text` is UTF-8, taken byte for byte (invalid bytes become byte tokens or U+FFFD as the vocabulary
  // allows). add_special: apply the files' BOS/EOS policy. parse_special: recognise special tokens written
  // out in `text`. Throws Error{kUsage} for a text beyond 2 GiB, Error{kRuntime} where splitting it into
  // words fails.
  std::vector<int32_t> encode(std::string_view text, bool add_special = true,
                              bool parse_special = false) const;
  // Special tokens are left out unless skip_special is false. Throws Error{kUsage} for an id out of range.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const;

  // The bytes that `id` stands for in the middle of a text, which need not be whole characters; a special
  // token's are its name. Empty for an id beyond the vocabulary.
  std::string token_bytes(int32_t id) const;
  // Of a special or other added token by its name, "<|im_end|>"; -1 if there is none.
  int32_t token_id(std::string_view name) const;

  int64_t n_vocab() const;  // ids are in [0, n_vocab)
  int32_t bos_id() const;   // -1 where there is none
  int32_t eos_id() const;  // -1 where there is none; a model may stop on further ids (generation_config.json)
  std::string kind() const;  // "sentencepiece", "bpe (byte-level)" or "bpe (metaspace)", for people

  TokenizerInfo info() const;

  // The name of the chat template recognised from tokenizer_config.json ("llama2", "llama3", "chatml",
  // "mistral"), empty where there is none or it is not one of these.
  std::string chat_template() const;
  // The prompt, tokenised, that ends where the assistant's answer begins. `name` empty: chat_template().
  // Throws Error{kUsage} where neither names a known template, or roles are out of order.
  std::vector<int32_t> encode_chat(const std::vector<ChatMessage>& messages,
                                   std::string_view name = {}) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for the engine

 private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
