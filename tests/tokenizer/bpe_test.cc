// Byte-pair encodings of both kinds, with vocabularies small enough to work out by hand.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/merges.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;

Ids merge(const Merges& merges, Ids ids) {
  merges.apply(&ids);
  return ids;
}

TEST_CASE("merges: the pair learned first goes first, the leftmost among equals") {
  Merges merges;
  merges.add(2, 3, 23);
  merges.add(1, 2, 12);
  CHECK(merge(merges, {1, 2, 3}) == Ids{1, 23});
  CHECK(merge(merges, {1, 2, 2, 3}) == Ids{12, 23});
  Merges same;
  same.add(1, 1, 11);
  CHECK(merge(same, {1, 1, 1}) == Ids{11, 1});
}

TEST_CASE("merges: what a merge made merges on") {
  Merges merges;
  merges.add(1, 2, 12);
  merges.add(12, 3, 123);
  merges.add(123, 123, 6);
  CHECK(merge(merges, {1, 2, 3, 1, 2, 3}) == Ids{6});
  CHECK(merge(merges, {1, 2, 1, 2, 3}) == Ids{12, 123});
}

TEST_CASE("merges: none and one symbol stay, a pair's last rule counts, negative ids never merge") {
  Merges merges;
  merges.add(1, 2, 12);
  merges.add(1, 2, 99);
  CHECK(merge(merges, {}) == Ids{});
  CHECK(merge(merges, {1}) == Ids{1});
  CHECK(merge(merges, {1, 2}) == Ids{99});
  CHECK(merge(merges, {-1, -1, 1, 2}) == Ids{-1, -1, 99});
}

TEST_CASE("the byte-level alphabet is GPT-2's") {
  CHECK(byte_level_piece("a~!") == "a~!");
  CHECK(byte_level_piece(" \n\t") == "\u0120\u010A\u0109");
  CHECK(byte_level_piece("\x7F\x80\xAD\xFF") == std::string("\u0121\u0122\u0143\u00FF"));
  CHECK(byte_level_piece("\u00E9") == "\u00C3\u00A9");
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    CHECK(bytes_of_byte_level(byte_level_piece(byte)) == byte);
  }
  CHECK(bytes_of_byte_level("\u20AC<|x|>") == std::nullopt);  // the character is outside of the alphabet
}

TEST_CASE("byte-level: merges stay within words") {
  const auto t = load_json(byte_level_json());
  CHECK(t->kind() == "bpe (byte-level)");
  CHECK(t->n_vocab() == 266);
  CHECK(t->encode("") == Ids{});
  CHECK(t->encode("hello") == Ids{259});
  CHECK(t->encode("hello hello") == Ids{259, 260});
  CHECK(t->encode("hell o") == Ids{258, ' ', 'o'});
  CHECK(t->encode("hhe") == Ids{'h', 256});
  CHECK(t->encode("1234") == Ids{262, '3' + 1});
  CHECK(t->encode("\u00E9\xFF") == Ids{0xC3, 0xA9, 0xFF});
}

TEST_CASE("byte-level: ignore_merges takes whole words that no merge reaches") {
  json file = byte_level_json();
  CHECK(load_json(file)->encode("helloing") == Ids{259, 'i', 'n', 'g'});
  file["model"]["ignore_merges"] = true;
  const auto t = load_json(file);
  CHECK(t->encode("helloing") == Ids{263});
  CHECK(t->encode(" helloing") == Ids{260, 'i', 'n', 'g'});  // another word
  CHECK(t->encode("helloings") == Ids{259, 'i', 'n', 'g', 's'});
}

TEST_CASE("byte-level: a byte outside the vocabulary is the unk_token, or nothing if there is none") {
  json file = byte_level_json();
  file["model"]["vocab"].erase("z");
  file["model"]["vocab"]["[UNK]"] = int{'z'};
  CHECK(load_json(file)->encode("az") == Ids{'a'});
  file["model"]["unk_token"] = "[UNK]";
  CHECK(load_json(file)->encode("azzb") == Ids{'a', 'z', 'z', 'b'});
  file["model"]["fuse_unk"] = true;
  CHECK(load_json(file)->encode("azzb") == Ids{'a', 'z', 'b'});
}

TEST_CASE("byte-level: a byte that UTF-8 never has and the vocabulary lacks is as U+FFFD") {
  json file = byte_level_json();
  for (const char byte : {'\xC0', '\xF8', '\xFF'}) {
    const std::string piece = byte_level_piece(std::string(1, byte));
    file["model"]["vocab"]["[" + piece + "]"] = file["model"]["vocab"][piece];
    file["model"]["vocab"].erase(piece);
  }
  const auto t = load_json(file);
  CHECK(t->encode("a\xFF\xC0") == Ids{'a', 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD});
  CHECK(t->decode(t->encode("a\xF8z")) == "a\uFFFDz");
  CHECK(t->encode("\xFE") == Ids{0xFE});
}

TEST_CASE("merges may be written as texts with a space or as pairs") {
  json file = byte_level_json();
  const auto with_text = load_json(file);
  json pairs = json::array();
  for (const json& merge : file["model"]["merges"]) {
    const std::string text = merge;
    const size_t space = text.find(' ');
    pairs.push_back(json::array({text.substr(0, space), text.substr(space + 1)}));
  }
  file["model"]["merges"] = pairs;
  const std::string text = "hello hell 123 helloing";
  CHECK(load_json(file)->encode(text) == with_text->encode(text));
}

TEST_CASE("metaspace: a visible space goes in front and stands for every space") {
  const auto t = load_json(metaspace_json());
  CHECK(t->kind() == "bpe (metaspace)");
  CHECK(t->encode("hello", false) == Ids{290});
  CHECK(t->encode("hello hello", false) == Ids{290, 290});
  CHECK(t->encode(" hello", false) == Ids{259, 290});
  CHECK(t->encode("a  b", false) == Ids{259, metaspace_letter('a'), 291, metaspace_letter('b')});
  CHECK(t->encode("", false) == Ids{});
  CHECK(t->encode("hello") == Ids{1, 290});
  CHECK(t->encode("") == Ids{1});
}

TEST_CASE("metaspace: characters outside the vocabulary fall back to their bytes, invalid ones too") {
  const auto t = load_json(metaspace_json());
  CHECK(t->encode("\u00E9", false) == Ids{259, 292});
  CHECK(t->encode("\u20AC", false) ==
        Ids{259, metaspace_byte(0xE2), metaspace_byte(0x82), metaspace_byte(0xAC)});
  CHECK(t->encode("a\xFF\n", false) ==
        Ids{259, metaspace_letter('a'), metaspace_byte(0xFF), metaspace_byte('\n')});
}

TEST_CASE("metaspace: without byte_fallback an unknown character is the unk_token, a run of them one") {
  json file = metaspace_json();
  file["model"]["byte_fallback"] = false;
  CHECK(load_json(file)->encode("a\u20AC\u20ACz", false) ==
        Ids{259, metaspace_letter('a'), 0, metaspace_letter('z')});
  file["model"]["fuse_unk"] = false;
  CHECK(load_json(file)->encode("a\u20AC\u20AC", false) == Ids{259, metaspace_letter('a'), 0, 0});
}

TEST_CASE(
    "metaspace: a character with a byte that has no token is unknown, and the bytes of others overtake it") {
  json file = metaspace_json();
  file["model"]["vocab"]["[82]"] = file["model"]["vocab"]["<0x82>"];
  file["model"]["vocab"].erase("<0x82>");
  CHECK(load_json(file)->encode("\u20AC\u00E8a", false) ==
        Ids{259, metaspace_byte(0xC3), metaspace_byte(0xA8), 0, metaspace_letter('a')});
}

TEST_CASE("the words after an added token begin as the normalizer has them begin") {
  json file = metaspace_json();
  file["added_tokens"].push_back(added_token(293, "[X]", false));
  // Prepend is part of the normalizer, which changes every stretch between added tokens.
  CHECK(load_json(file)->encode("hello[X]hello", false) == Ids{290, 293, 290});
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}};
  CHECK(load_json(file)->encode("hello[X]hello", false) == Ids{290, 293, 289});
}

TEST_CASE("added tokens take their flags from the file") {
  json file = byte_level_json();
  json left = added_token(266, "[L]", false), right = added_token(267, "[R]", false),
       word = added_token(268, "ab", false);
  left["lstrip"] = true;
  right["rstrip"] = true;
  word["single_word"] = true;
  for (const json& token : {left, right, word}) file["added_tokens"].push_back(token);
  const auto t = load_json(file);
  CHECK(t->n_vocab() == 269);
  CHECK(t->encode("x [L] x") == Ids{'x', 266, ' ', 'x'});
  CHECK(t->encode("x [R] x") == Ids{'x', ' ', 267, 'x'});
  CHECK(t->encode("ab,abc") == Ids{268, ',', 'a', 'b', 'c'});
}

TEST_CASE("decode leaves special tokens out unless it is told not to, others stay") {
  json file = byte_level_json();
  file["added_tokens"].push_back(added_token(266, "<tool>", false));
  const auto t = load_json(file);
  CHECK(t->decode({264, 259, 266, 260, 265}) == "hello<tool> hello");
  CHECK(t->decode({264, 259, 266, 260, 265}, /*skip_special=*/false) == "<|bos|>hello<tool> hello<|eos|>");
  CHECK(t->decode({}) == "");
}

TEST_CASE("decode drops the one space that encode put in front, and no other") {
  const auto t = load_json(metaspace_json());
  CHECK(t->decode({290, 290}) == "hello hello");
  CHECK(t->decode({1, 290}) == "hello");
  CHECK(t->decode({289}) == "hello");
  CHECK(t->decode({291, 289}) == " hello");
}

TEST_CASE("decode joins bytes to characters and replaces what is none") {
  const auto t = load_json(metaspace_json());
  const Ids euro = {metaspace_byte(0xE2), metaspace_byte(0x82), metaspace_byte(0xAC)};
  CHECK(t->decode(euro) == "\u20AC");
  CHECK(t->decode({euro[0], euro[1]}) == "\uFFFD\uFFFD");
  CHECK(t->decode({euro[0], euro[1], metaspace_letter('a')}) == "\uFFFD\uFFFDa");
  // A single wrong byte makes the whole run of byte tokens wrong.
  CHECK(t->decode({metaspace_byte('x'), euro[0], metaspace_letter('a')}) == "\uFFFD\uFFFDa");
  // A special token ends the character before it.
  CHECK(t->decode({euro[0], 1, euro[1]}, false) == "\uFFFD<s>\uFFFD");
}

TEST_CASE("ids that no token has decode to nothing") {
  const auto t = load_json(byte_level_json());
  CHECK(t->decode({65, 266, INT32_MAX, -1, 66}) == "AB");
  CHECK(t->decode({266}, /*skip_special=*/false) == "");
  CHECK(t->decode({265}) == "");
  CHECK(t->token_bytes(266).empty());
}

TEST_CASE("an added token whose id is not the one that it gets is refused with both ids") {
  json file = byte_level_json();
  file["added_tokens"].push_back(added_token(1000, "<far>", false));
  CHECK_THAT(error_of([&] { load_json(file); }), ContainsSubstring("file: ") && ContainsSubstring("<far>") &&
                                                     ContainsSubstring("1000") && ContainsSubstring("266"));
  file["added_tokens"].back() = added_token(266, "hello", false);
  CHECK_THAT(error_of([&] { load_json(file); }), ContainsSubstring("266") && ContainsSubstring("259"));
  file["added_tokens"].back() = added_token(259, "hello", false);
  CHECK(load_json(file)->encode("xhello") == Ids{'x', 259});
}

}  // namespace
}  // namespace seer
