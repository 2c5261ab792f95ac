#include "tokenizer/utf8_stream.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

constexpr const char* kBad = "\uFFFD";

// Returns the stream's output for `bytes` that arrive one at a time.
std::string byte_by_byte(const std::string& bytes) {
  Utf8Stream stream;
  std::string out;
  for (const char c : bytes) out += stream.push({&c, 1});
  return out + stream.finish();
}

std::string at_once(const std::string& bytes) {
  Utf8Stream stream;
  const std::string out = stream.push(bytes);
  return out + stream.finish();
}

TEST_CASE("whole characters pass at once") {
  Utf8Stream stream;
  CHECK(stream.push("a\u00E9\u20AC\U0001F600") == "a\u00E9\u20AC\U0001F600");
  CHECK(stream.finish() == "");
}

TEST_CASE("a character split over pieces is held back until its last byte") {
  Utf8Stream stream;
  CHECK(stream.push("x\xF0") == "x");
  CHECK(stream.push("\x9F\x98") == "");
  CHECK(stream.push("\x80y") == "\U0001F600y");
  CHECK(stream.finish() == "");
}

TEST_CASE("an empty piece changes nothing") {
  Utf8Stream stream;
  CHECK(stream.push("") == "");
  CHECK(stream.push("\xC3") == "");
  CHECK(stream.push("") == "");
  CHECK(stream.push("\xA9") == "\u00E9");
}

TEST_CASE("a character that never ends becomes one replacement, whatever its length") {
  for (const char* begun : {"\xC3", "\xE2\x82", "\xF0\x9F\x98"}) {
    Utf8Stream stream;
    CHECK(stream.push(begun) == "");
    CHECK(stream.finish() == kBad);
    CHECK(stream.finish() == "");
    CHECK(stream.push("ok") == "ok");  // no bytes are left over
  }
}

TEST_CASE("a character broken off by another is replaced, the other kept") {
  CHECK(at_once("\xE2\x82(") == std::string(kBad) + "(");
  CHECK(at_once("\xF0\x9F\xE2\x82\xAC") == std::string(kBad) + "\u20AC");
  CHECK(at_once("\xC3\xC3\xA9") == std::string(kBad) + "\u00E9");
}

TEST_CASE("bytes that can begin no character are replaced one by one and not held back") {
  Utf8Stream stream;
  CHECK(stream.push("\x80") == kBad);
  CHECK(stream.push("\xFF\xFE") == std::string(kBad) + kBad);
  CHECK(stream.push("\xC0\xAF") == std::string(kBad) + kBad);  // overlong "/"
  CHECK(stream.push("\xF5") == kBad);
  CHECK(stream.finish() == "");
}

TEST_CASE("overlong forms, surrogates and what lies beyond U+10FFFF are no characters") {
  // The second byte is out of range already, so nothing is held back for a third.
  for (const char* bad : {"\xE0\x9F\xBF", "\xED\xA0\x80"})
    CHECK(at_once(bad) == std::string(kBad) + kBad + kBad);
  for (const char* bad : {"\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80"})
    CHECK(at_once(bad) == std::string(kBad) + kBad + kBad + kBad);
}

TEST_CASE("the first and last character of every length pass") {
  for (const std::string& c :
       {std::string("\0", 1), std::string("\x7F"), std::string("\xC2\x80"), std::string("\xDF\xBF"),
        std::string("\xE0\xA0\x80"), std::string("\xED\x9F\xBF"), std::string("\xEE\x80\x80"),
        std::string("\xEF\xBF\xBF"), std::string("\xF0\x90\x80\x80"), std::string("\xF4\x8F\xBF\xBF")}) {
    CHECK(at_once(c) == c);
    CHECK(byte_by_byte(c) == c);
  }
}

TEST_CASE("random bytes give the same text however they are split, each maximal subpart one replacement") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    // Bytes from 0xC0 up are rare among random ones; half the strings here begin with a lead byte.
    std::string bytes = testing::random_bytes(seed, 64);
    for (size_t i = 0; i < bytes.size(); i += 4) bytes[i] = static_cast<char>(bytes[i] | 0xC0);
    INFO("seed " << seed);
    const std::string expected = testing::replace_invalid(bytes);
    CHECK(at_once(bytes) == expected);
    CHECK(byte_by_byte(bytes) == expected);
  }
}

}  // namespace
}  // namespace seer
