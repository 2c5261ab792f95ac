// The split patterns of the Qwen2 family and of DeepSeek V3 and R1, with the parts around them in their
// tokenizer.json files. Expected splits and ids are those of tokenizers 0.23.3.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/pretokenize.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;
using Words = std::vector<std::string>;

constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeekV3[] = {
    R"(\p{N}{1,3})", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

json split_step(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

json byte_level() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
}

json qwen2_json() {
  return {{"type", "Sequence"}, {"pretokenizers", json::array({split_step(kQwen2), byte_level()})}};
}

json deepseek_v3_json() {
  json steps = json::array();
  for (const char* regex : kDeepSeekV3) steps.push_back(split_step(regex));
  steps.push_back(byte_level());
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Words words_of(const json& pre_tokenizer, std::string_view text) {
  const Pretokenizer pretokenizer({{"pre_tokenizer", pre_tokenizer}}, "tokenizer.json");
  const seer::Words words = pretokenizer.split(text, /*first=*/true);
  return {words.list.begin(), words.list.end()};
}

Words qwen2(std::string_view text) { return words_of(qwen2_json(), text); }
Words deepseek_v3(std::string_view text) { return words_of(deepseek_v3_json(), text); }

TEST_CASE("Qwen2: digits go one by one") {
  CHECK(qwen2("1234") == Words{"1", "2", "3", "4"});
  CHECK(qwen2("\U0001D7CE\u00B2\u2460") == Words{"\U0001D7CE", "\u00B2", "\u2460"});
}

TEST_CASE("Qwen2: contractions in either case, the long s being one of s") {
  CHECK(qwen2("I'LL he'\u017F") == Words{"I", "'LL", " he", "'\u017F"});
}

TEST_CASE("Qwen2: marks are no letters, and U+180E is no white space") {
  CHECK(qwen2("e\u0301\u0301x") == Words{"e", "\u0301\u0301", "x"});
  CHECK(qwen2("a\u180Eb \u180E") == Words{"a", "\u180Eb", " \u180E"});
}

TEST_CASE("Qwen2: line ends and white space of every kind") {
  CHECK(qwen2("\r\n\r\nx \r y") == Words{"\r\n\r\n", "x", " \r", " y"});
  CHECK(qwen2("a \u2028 b") == Words{"a", " \u2028", " b"});
  CHECK(qwen2("x\u0085\u0085y") == Words{"x", "\u0085", "\u0085y"});
}

TEST_CASE("letters of Unicode 15 and 16 are letters") {
  CHECK(qwen2("\u1C89\u1C8A\U0002EBF0") == Words{"\u1C89\u1C8A\U0002EBF0"});
  CHECK(deepseek_v3("\u1C89\u1C8A \U0002EBF0") == Words{"\u1C89\u1C8A", " \U0002EBF0"});
  CHECK(deepseek_v3(" \U0001FAE8x") == Words{" \U0001FAE8", "x"});
}

TEST_CASE("DeepSeek V3: digits go by three, a mark begins the word of Latin letters after it") {
  CHECK(deepseek_v3("Hello world, it's 12345!") ==
        Words{"Hello", " world", ",", " it", "'s", " ", "123", "45", "!"});
  CHECK(deepseek_v3("a<b>c_d [x]") == Words{"a", "<b", ">c", "_d", " [", "x", "]"});
  CHECK(deepseek_v3("\u0661\u0662\u0663\u0664") == Words{"\u0661\u0662\u0663", "\u0664"});
  CHECK(deepseek_v3("$100 \u20AC5") == Words{"$", "100", " \u20AC", "5"});
}

TEST_CASE("DeepSeek V3: Chinese characters and kana are words without a space, marks belong to letters") {
  CHECK(deepseek_v3("\u4F60\u597D\u3072\u3089\u30AB\u30BF abc") ==
        Words{"\u4F60\u597D\u3072\u3089\u30AB\u30BF", " abc"});
  CHECK(deepseek_v3("\uD55C\uAD6D \uC870") == Words{"\uD55C\uAD6D", " \uC870"});
  CHECK(deepseek_v3("e\u0301a\u0308 x\u0323") == Words{"e\u0301a\u0308", " x\u0323"});
}

TEST_CASE("DeepSeek V3: white space, line ends and emoji") {
  CHECK(deepseek_v3("  two  \r\n\r\n lines\t") == Words{" ", " two", "  \r\n\r\n", " lines", "\t"});
  CHECK(deepseek_v3("=> x;\n\n") == Words{"=>", " x", ";\n\n"});
  CHECK(deepseek_v3("a\u00A0b\u3000") == Words{"a", "\u00A0b", "\u3000"});
  CHECK(deepseek_v3("\u2028x \u0085y") == Words{"\u2028x", " ", "\u0085y"});
  CHECK(deepseek_v3("\U0001FAE8 \U0001F469\u200D\U0001F467") ==
        Words{"\U0001FAE8", " \U0001F469", "\u200D", "\U0001F467"});
}

// Ids below 264 are those of small_tokenizers.h.
json deepseek_tokenizer() {
  json file = byte_level_json();
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array()}};
  file["pre_tokenizer"] = deepseek_v3_json();
  file["added_tokens"] =
      json::array({added_token(264, "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>", true),
                   added_token(265, "<\uFF5CUser\uFF5C>", false), added_token(266, "<think>", false)});
  return file;
}

TEST_CASE("a tokenizer.json like DeepSeek R1's gives the reference ids, and says what it is") {
  const auto t = load_json(deepseek_tokenizer());
  const std::string chat =
      "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C><\uFF5CUser\uFF5C>hello 1234<think>\n\nhello";
  CHECK(t->encode(chat, true, /*parse_special=*/true) == Ids{264, 265, 259, 32, 262, 52, 266, 10, 10, 259});
  CHECK(t->decode(t->encode(chat, true, true), /*skip_special=*/false) == chat);
  CHECK(t->encode("hello hello") == Ids{259, 260});
  CHECK(t->encode("1231") == Ids{262, 49});
  const Ids plain = t->encode("<\uFF5Cbegin\u2581of\u2581sentence\uFF5C><\uFF5CUser\uFF5C>");
  CHECK(plain.size() == 30);
  CHECK(plain.back() == 265);  // only special tokens become text here
  const TokenizerInfo info = t->info();
  CHECK(info.kind == "bpe (byte-level)");
  CHECK(info.normalizer == "none");
  CHECK(info.splits == "3 regular expressions");
  CHECK(info.n_added == 3);
  CHECK(info.n_special == 1);
  CHECK_FALSE(info.adds_bos);
}

TEST_CASE("the known patterns have names") {
  const auto splits = [](const json& pre_tokenizer) {
    json file = byte_level_json();
    file["pre_tokenizer"] = pre_tokenizer;
    return load_json(file)->info().splits;
  };
  CHECK(splits(qwen2_json()) == "Qwen2 pattern");
  CHECK(splits({{"type", "ByteLevel"}, {"add_prefix_space", false}}) == "GPT-2 pattern");
  CHECK(splits(split_step("a")) == "1 regular expression");
  CHECK(splits({{"type", "Digits"}, {"individual_digits", true}}) == "single digits");
  CHECK(splits(nullptr) == "none");
}

TEST_CASE("tokens with normalized true are found in the normalised text, the others before") {
  json file = byte_level_json();
  json composed = added_token(264, "o\u0308", false), turned = added_token(266, "\u0250", false);
  composed["normalized"] = turned["normalized"] = true;
  file["added_tokens"] = json::array({composed, added_token(265, "u\u0308", false), turned});
  file["normalizer"] = {{"type", "NFC"}};
  const auto t = load_json(file);
  CHECK(t->encode("\u00F6") == Ids{264});
  CHECK(t->encode("o\u0308") == Ids{264});
  CHECK(t->encode("u\u0308") == Ids{265});
  CHECK(t->encode("\u00FC") == Ids{0xC3, 0xBC});
  CHECK(t->encode("ou\u0308o\u0308") == Ids{'o', 265, 264});
  CHECK(t->encode("e\u0301\u0250") == Ids{0xC3, 0xA9, 266});
  // Not UTF-8: it stays, and nothing composes across it.
  CHECK(t->encode("o\xFF\u0308") == Ids{'o', 0xFF, 0xCC, 0x88});
  CHECK(t->info().normalizer == "NFC");
}

TEST_CASE("a normalised token has the normalizer's prefix in its spelling") {
  json file = byte_level_json();
  json normalized = added_token(264, "AB", false);
  normalized["normalized"] = true;
  file["added_tokens"] = json::array({normalized, added_token(265, "CD", false)});
  file["normalizer"] = {{"type", "Prepend"}, {"prepend", "_"}};
  const auto t = load_json(file);
  CHECK(t->encode("AB") == Ids{264});
  CHECK(t->encode("xAB") == Ids{'_', 'x', 'A', 'B'});
  CHECK(t->encode("CDAB") == Ids{265, 264});
  CHECK(t->encode("xCDy") == Ids{'_', 'x', 265, '_', 'y'});
}

}  // namespace
}  // namespace seer
