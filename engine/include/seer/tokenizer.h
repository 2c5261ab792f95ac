// Turns text into token ids and back, by the tokenizer files of a Hugging Face checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/chat.h"
#include "seer/error.h"

namespace seer {

// A description of a tokenizer's files, for people.
struct SEER_API TokenizerInfo {
  std::string kind;        // "sentencepiece", "bpe (byte-level)" or "bpe (metaspace)"
  std::string normalizer;  // "NFC", "Prepend, Replace", "none"
  std::string splits;      // how a text becomes words: "Qwen2 pattern", "3 regular expressions", "none"
  int64_t n_added = 0;     // added tokens, the special ones among them
  int64_t n_special = 0;
  bool adds_bos = false;  // whether encode puts BOS before a text
  bool adds_eos = false;  // and EOS after it
  std::string note;       // a part of the files that is not followed, and why; empty if there is none
};

// Limits that end an encoding early.
struct SEER_API EncodeLimits {
  // A text that must have more tokens than this throws TooManyTokens before it is tokenized, which takes a
  // hundredth of the time of tokenizing it. This goes by its length in bytes only, so a text that is a little
  // too long is not refused. -1: no limit.
  int64_t max_tokens = -1;
  // Is called every few milliseconds on the calling thread, and may throw to stop the work. It cannot
  // interrupt the sentencepiece library. May be empty.
  std::function<void()> check = {};
};

// The error for a text that EncodeLimits::max_tokens refuses. Its message does not say where the text is from
// or what the limit is for, so the caller should.
class SEER_API TooManyTokens : public Error {
 public:
  explicit TooManyTokens(int64_t n_least)
      : Error(ErrorKind::kUsage, "the text has " + std::to_string(n_least) + " tokens or more"),
        n_least_(n_least) {}
  int64_t n_least() const noexcept { return n_least_; }  // the text has at least this many

 private:
  int64_t n_least_;
};

// Immutable after load; every const function may be called from many threads at once. Results other than the
// reference of token_variables() outlive it.
class SEER_API Tokenizer {
 public:
  // Reads tokenizer.json or tokenizer.model, and tokenizer_config.json if there is one, from `model_dir`.
  // Throws Error{kFile} if there is neither or a file is malformed, and Error{kUnsupported} for any other
  // kind of tokenizer.
  static std::shared_ptr<const Tokenizer> load(const std::string& model_dir);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // `text` is UTF-8, taken byte for byte (invalid bytes become byte tokens or U+FFFD as the vocabulary
  // allows). add_special: apply the files' BOS/EOS policy. parse_special: recognise special tokens written
  // out in `text`. Throws Error{kUsage} for a text beyond 2 GiB, TooManyTokens, Error{kUnsupported} if
  // the files' normalizer would let it grow without bound or a regular expression of theirs takes too long,
  // Error{kRuntime} if splitting it into words fails otherwise.
  std::vector<int32_t> encode(std::string_view text, bool add_special = true, bool parse_special = false,
                              const EncodeLimits& limits = {}) const;
  // Special tokens are left out unless skip_special is false. Ids without a token have no text.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const;

  // Returns the bytes that `id` stands for in the middle of a text, which need not be whole characters. For a
  // special token they are its name. Empty for an id beyond the vocabulary.
  std::string token_bytes(int32_t id) const;
  // Returns the id of a special or other added token by its name, "<|im_end|>"; -1 if there is none.
  int32_t token_id(std::string_view name) const;

  int64_t n_vocab() const;   // ids are in [0, n_vocab)
  int32_t bos_id() const;    // -1 if there is none
  int32_t eos_id() const;    // -1 if there is none; a model may stop on further ids (generation_config.json)
  std::string kind() const;  // "sentencepiece", "bpe (byte-level)" or "bpe (metaspace)", for people

  TokenizerInfo info() const;

  // Returns the chat template of the model's files; null if they have none. A template that cannot be
  // interpreted throws here, as ChatTemplate::of_model does, and not from load(), so that the tokenizer can
  // still be used for plain text.
  std::shared_ptr<const ChatTemplate> chat_template() const;
  // Throws Error{kUnsupported} if a template that comes with the program needs tokens that the vocabulary
  // lacks.
  void check_chat_template(const ChatTemplate& chat_template) const;
  // Returns the ids of tokens with which the template ends the assistant's turn, if the vocabulary has them:
  // that of "<|im_end|>" and so on. `with` null: chat_template(), whose ids are among ModelInfo's stop_ids
  // already.
  std::vector<int32_t> end_of_turn_ids(const ChatTemplate* with = nullptr) const;
  // Returns the texts of bos_token, eos_token, unk_token and so on, as the files name them. A template may
  // use them.
  const std::map<std::string, std::string>& token_variables() const;
  // Returns the prompt as text, as transformers' apply_chat_template renders it. `with` null:
  // chat_template(). Throws Error{kUsage} if there is no template, and for JSON that is malformed;
  // Error{kUnsupported} with the template's own words if it refuses the conversation (raise_exception), and
  // if it uses constructs that Seer does not interpret or exceeds the limits of steps, depth and size.
  std::string render_chat(const ChatPrompt& prompt, const ChatTemplate* with = nullptr,
                          const EncodeLimits& limits = {}) const;
  // Returns the same prompt as token ids. Special and other added tokens are recognised only where the
  // template's own text spells them. A message that spells one stays plain text, so it cannot forge a turn.
  std::vector<int32_t> encode_chat(const ChatPrompt& prompt, const ChatTemplate* with = nullptr,
                                   const EncodeLimits& limits = {}) const;
  // Returns the ids that encode_chat() gives to the rendered text from byte `from` on; absent if no token
  // begins there. For callers that have the ids of the text before it.
  std::optional<std::vector<int32_t>> encode_chat_from(size_t from, const ChatPrompt& prompt,
                                                       const ChatTemplate* with = nullptr) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for the engine

 private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
