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

// Byte-level as GPT-2 and Llama 3 have it. Ids: the 256 bytes are 0 to 255; then
// 256 "he", 257 "ll", 258 "hell", 259 "hello", 260 " hello", 261 "12", 262 "123", 263 "helloing", which no
// merge reaches; the special tokens 264 "<|bos|>" and 265 "<|eos|>". No BOS of its own accord.
nlohmann::json byte_level_json();
// Visible spaces and byte fallback as Llama 2 has them. Ids: 0 "<unk>", 1 "<s>", 2 "</s>", 3 to 258 the
// bytes, 259 " ", 260 to 285 "a" to "z", 286 "he", 287 "ll", 288 "hell", 289 "hello", 290 " hello", 291 "  ",
// 292 "\u00E9". BOS in front.
nlohmann::json metaspace_json();
inline int32_t metaspace_byte(unsigned char byte) { return 3 + byte; }
inline int32_t metaspace_letter(char letter) { return 260 + letter - 'a'; }

// An added token of a tokenizer.json.
nlohmann::json added_token(int32_t id, const std::string& content, bool special);

// A post_processor that puts the special token before a text.
nlohmann::json bos_template(const std::string& name, int32_t id);

// What Tokenizer::load makes of a folder with these files. `config` null: no tokenizer_config.json.
std::shared_ptr<const Tokenizer> load_json(const nlohmann::json& tokenizer,
                                           const nlohmann::json& config = nullptr);

// Pseudo-random text that comes back from any of the tokenizers, of n characters from one to four bytes long.
// Not the visible space U+2581, which is a space to some.
std::string random_text(uint64_t seed, int64_t n_characters);
// n bytes of any value, UTF-8 or not.
std::string random_bytes(uint64_t seed, int64_t n);
// `bytes` with what is not UTF-8 as U+FFFD: one for each maximal subpart, as Unicode recommends, or for each
// byte; for kNothing they are not to be compared.
enum class Replace { kSubparts, kBytes, kNothing };
std::string replace_invalid(std::string_view bytes, Replace each = Replace::kSubparts);

}  // namespace seer::testing
