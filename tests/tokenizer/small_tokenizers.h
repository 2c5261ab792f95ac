// tokenizer.json files small enough to work their ids out by hand.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "seer/tokenizer.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/error_of.h"

namespace seer::testing {

using Ids = std::vector<int32_t>;

// A byte-level tokenizer like those of GPT-2 and Llama 3. Ids: the 256 bytes are 0 to 255; then 256 "he", 257
// "ll", 258 "hell", 259 "hello", 260 " hello", 261 "12", 262 "123", 263 "helloing", which no merge reaches;
// the special tokens 264 "<|bos|>" and 265 "<|eos|>". It adds no BOS by itself.
nlohmann::json byte_level_json();
// A tokenizer with visible spaces and byte fallback like Llama 2's. Ids: 0 "<unk>", 1 "<s>", 2 "</s>", 3 to
// 258 the bytes, 259 " ", 260 to 285 "a" to "z", 286 "he", 287 "ll", 288 "hell", 289 "hello", 290 " hello",
// 291 "  ", 292 "\u00E9". It puts BOS in front.
nlohmann::json metaspace_json();
inline int32_t metaspace_byte(unsigned char byte) { return 3 + byte; }
inline int32_t metaspace_letter(char letter) { return 260 + letter - 'a'; }

// Returns an added token of a tokenizer.json.
nlohmann::json added_token(int32_t id, const std::string& content, bool special);

// Returns a post_processor that puts the special token before a text.
nlohmann::json bos_template(const std::string& name, int32_t id);

// Returns the result of Tokenizer::load for a folder with these files. If `config` is null, there is no
// tokenizer_config.json.
std::shared_ptr<const Tokenizer> load_json(const nlohmann::json& tokenizer,
                                           const nlohmann::json& config = nullptr);

// Returns pseudo-random text of n characters, each one to four bytes long, which every tokenizer decodes to
// itself. It does not contain the visible space U+2581, which is a space to some.
std::string random_text(uint64_t seed, int64_t n_characters);
// Returns n bytes of any value, UTF-8 or not.
std::string random_bytes(uint64_t seed, int64_t n);
// Returns `bytes` with U+FFFD in place of bytes that are not UTF-8: one for each maximal subpart, as Unicode
// recommends, or one for each byte. kNothing means that they are not to be compared.
enum class Replace { kSubparts, kBytes, kNothing };
std::string replace_invalid(std::string_view bytes, Replace each = Replace::kSubparts);

}  // namespace seer::testing
