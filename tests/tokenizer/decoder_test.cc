// The texts that names of tokens decode to. The expected ones are those of tokenizers 0.23.3.
#include "tokenizer/decoder.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using nlohmann::json;
using Names = std::vector<std::string>;

constexpr const char* kSpace = "\u2581";

TokenDecoder decoder(const json& node) { return {{{"decoder", node}}, "tokenizer.json"}; }

json replace() { return {{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}}; }
json strip() { return {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}; }
json plain(const char* type) { return {{"type", type}}; }
json sequence(const json& parts) { return {{"type", "Sequence"}, {"decoders", parts}}; }

TEST_CASE("ByteLevel reads a name in the alphabet, or as it is if a character is outside of it") {
  const TokenDecoder d = decoder(plain("ByteLevel"));
  CHECK(d.decode({"\u0120a", "\u00C3", "\u00A9", " x", "\u4F60"}) == " a\u00E9 x\u4F60");
  CHECK(d.decode({"\u00E4", "\u00BD", "a"}) == "\uFFFDa");  // one for all bytes that could have become a
                                                            // character
  CHECK(d.piece("\u00E4") == "\xE4");
  CHECK_FALSE(d.strips_first_space());
}

TEST_CASE("ByteFallback replaces each byte of a run that is not UTF-8 as a whole") {
  const TokenDecoder d =
      decoder(sequence(json::array({replace(), plain("ByteFallback"), plain("Fuse"), strip()})));
  CHECK(d.decode({"<0xC3>", "<0xA9>", "a"}) == "\u00E9a");
  CHECK(d.decode({"<0x41>", "<0xC3>", "a", "<0x41>"}) == "\uFFFD\uFFFDaA");
  CHECK(d.piece("<0xC3>") == "\xC3");
}

TEST_CASE("after Fuse a space is stripped of the text, so that a special token in front keeps it") {
  const TokenDecoder d =
      decoder(sequence(json::array({replace(), plain("ByteFallback"), plain("Fuse"), strip()})));
  CHECK(d.strips_first_space());
  CHECK(d.decode({"\u2581a", "\u2581b"}) == "a b");
  CHECK(d.decode({"<s>", "\u2581a"}) == "<s> a");
  CHECK(d.piece("\u2581a") == " a");
}

TEST_CASE("without Fuse each token is stripped") {
  const TokenDecoder d = decoder(sequence(json::array({replace(), strip()})));
  CHECK_FALSE(d.strips_first_space());
  CHECK(d.decode({"\u2581a", "\u2581b"}) == "ab");
  CHECK(d.piece("\u2581a") == "a");
}

TEST_CASE("Metaspace drops every space of the first token") {
  const json node = {{"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", "first"}};
  CHECK(decoder(node).decode({"\u2581\u2581a\u2581b", "\u2581c"}) == "ab c");
  CHECK(decoder(node).strips_first_space());
  json never = node;
  never["prepend_scheme"] = "never";
  CHECK(decoder(never).decode({"\u2581\u2581a"}) == "  a");
}

TEST_CASE("an added token that the alphabet would spell as no UTF-8 is decoded as it is") {
  const TokenDecoder d = decoder(plain("ByteLevel"));
  CHECK(d.decode({d.name_of_added("\u00FC")}) == "\u00FC");
  CHECK(d.decode({d.name_of_added("\u0120x")}) == " x");
  CHECK(decoder(plain("Fuse")).name_of_added("\u00FC") == "\u00FC");
}

}  // namespace
}  // namespace seer
