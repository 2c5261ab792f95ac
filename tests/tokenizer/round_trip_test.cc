// decode(encode(x)) == x for random Unicode. For random bytes the result is x with U+FFFD for bytes that are
// not UTF-8.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/real_tokenizers.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;

void check_round_trip(const Tokenizer& t, const std::string& text) {
  CHECK(t.decode(t.encode(text, /*add_special=*/false)) == text);
  CHECK(t.decode(t.encode(text)) == text);
}

void check_round_trips(const Tokenizer& t, Replace each = Replace::kSubparts) {
  for (const char* text : {"", " ", "  ", "\n", " a", "a ", "\t\r\n ", "hello hello", "1234567", "\uFFFD"}) {
    INFO('"' << text << '"');
    check_round_trip(t, text);
  }
  for (const int64_t n : {1, 2, 63, 64, 65, 127, 1000})
    for (uint64_t seed = 0; seed < 10; ++seed) {
      INFO(n << " characters, seed " << seed);
      check_round_trip(t, random_text(seed, n));
    }
  for (const int64_t n : {1, 2, 3, 64, 500}) {
    if (each == Replace::kNothing) break;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      INFO(n << " bytes, seed " << seed);
      const std::string bytes = random_bytes(seed, n);
      CHECK(t.decode(t.encode(bytes)) == replace_invalid(bytes, each));
    }
  }
}

TEST_CASE("byte-level: every text comes back") { check_round_trips(*load_json(byte_level_json())); }

TEST_CASE("byte-level with ignore_merges: every text comes back") {
  nlohmann::json file = byte_level_json();
  file["model"]["ignore_merges"] = true;
  check_round_trips(*load_json(file));
}

// A run of byte tokens that is not UTF-8 as a whole is replaced byte by byte, so random bytes do not come
// back.
TEST_CASE("metaspace: every text comes back") {
  check_round_trips(*load_json(metaspace_json()), Replace::kNothing);
}

// The sentencepiece library replaces invalid bytes one by one, before any vocabulary sees them.
TEST_CASE("the demo model's SentencePiece: every text comes back") {
  check_round_trips(*Tokenizer::load((demo_model() / "model").string()), Replace::kBytes);
}

TEST_CASE("Llama 2's SentencePiece: every text comes back") {
  if (const auto dir = test_data("tokenizers/llama2"))
    check_round_trips(real_tokenizer(*dir), Replace::kBytes);
}

TEST_CASE("DeepSeek LLM's vocabulary: every text comes back") {
  if (const auto dir = test_data("tokenizers/deepseek-llm")) check_round_trips(real_tokenizer(*dir));
}

TEST_CASE("Llama 3.1's vocabulary: every text comes back") {
  if (const auto dir = test_data("tokenizers/llama3.1")) check_round_trips(real_tokenizer(*dir));
}

}  // namespace
}  // namespace seer
