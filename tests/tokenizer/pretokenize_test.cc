// The words whose borders merges may not cross. Expected splits are those of the Hugging Face tokenizers
// library.
#include "tokenizer/pretokenize.h"

#include <nlohmann/json.hpp>

#include "seer/error.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/normalizer.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::error_of;
using Words = std::vector<std::string>;

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json split_by(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Words words_of(const json& pre_tokenizer, const std::string& text, bool first = true) {
  const Pretokenizer pretokenizer({{"pre_tokenizer", pre_tokenizer}}, "tokenizer.json");
  const seer::Words words = pretokenizer.split(text, first);
  return {words.list.begin(), words.list.end()};
}

Words llama3(const std::string& text) { return words_of(split_by(kLlama3), text); }

Words gpt2(const std::string& text) {
  return words_of({{"type", "ByteLevel"}, {"add_prefix_space", false}}, text);
}

TEST_CASE("Llama 3: a word takes one space before it") {
  CHECK(llama3("Hello world") == Words{"Hello", " world"});
  CHECK(llama3("Hello  world") == Words{"Hello", " ", " world"});
  CHECK(llama3(" x") == Words{" x"});
}

TEST_CASE("Llama 3: a word takes one punctuation mark before it too") {
  CHECK(llama3("(hello)") == Words{"(hello", ")"});
  CHECK(llama3("a-b_c") == Words{"a", "-b", "_c"});
  CHECK(llama3("\tx") == Words{"\tx"});
}

TEST_CASE("Llama 3: contractions in either case are words") {
  CHECK(llama3("I'm he's we'LL you'd They'Re") ==
        Words{"I", "'m", " he", "'s", " we", "'LL", " you", "'d", " They", "'Re"});
  CHECK(llama3("rock'n") == Words{"rock", "'n"});
  CHECK(llama3("it's") == Words{"it", "'s"});
  CHECK(llama3("'tis") == Words{"'t", "is"});
}

TEST_CASE("Llama 3: digits go by three, from the left, and take no space") {
  CHECK(llama3("1") == Words{"1"});
  CHECK(llama3("1234567") == Words{"123", "456", "7"});
  CHECK(llama3(" 42") == Words{" ", "42"});
  CHECK(llama3("3.14") == Words{"3", ".", "14"});
  CHECK(llama3("a1b") == Words{"a", "1", "b"});
  CHECK(llama3("\u0661\u0662\u0663\u0664") == Words{"\u0661\u0662\u0663", "\u0664"});  // Arabic-Indic
}

TEST_CASE("Llama 3: of a run of white space the last goes to the word after it") {
  CHECK(llama3("a   b") == Words{"a", "  ", " b"});
  CHECK(llama3("a   ") == Words{"a", "   "});
  CHECK(llama3("a\u00A0\u00A0b") == Words{"a", "\u00A0", "\u00A0b"});
  CHECK(llama3(" ") == Words{" "});
}

TEST_CASE("Llama 3: line ends stay together, with the white space before them and the marks too") {
  CHECK(llama3("a\n\nb") == Words{"a", "\n\n", "b"});
  CHECK(llama3("a  \r\n  b") == Words{"a", "  \r\n", " ", " b"});
  CHECK(llama3("end.\n\nNext") == Words{"end", ".\n\n", "Next"});
  CHECK(llama3("\n \n") == Words{"\n \n"});
}

TEST_CASE("Llama 3: letters of every script are letters, marks and symbols are not") {
  CHECK(llama3("\u4F60\u597D \u4E16\u754C") == Words{"\u4F60\u597D", " \u4E16\u754C"});
  CHECK(llama3("caf\u00E9 na\u00EFve") == Words{"caf\u00E9", " na\u00EFve"});
  CHECK(llama3("e\u0301x") == Words{"e", "\u0301x"});  // a combining accent is no letter: it begins a word
  CHECK(llama3("a \U0001F600\U0001F601!") == Words{"a", " \U0001F600\U0001F601!"});
}

TEST_CASE("Llama 3: bytes that are not UTF-8 lie between words and none is lost") {
  const std::string text =
      "ab\xFF"
      "cd \xC3(";
  const Words words = llama3(text);
  std::string joined;
  for (const std::string& word : words) joined += word;
  CHECK(joined == text);
  CHECK(words[0] == "ab");
}

TEST_CASE("Llama 3: a megabyte of spaces or of letters is split in reasonable time") {
  const std::string spaces(1 << 20, ' '), letters(1 << 20, 'x'), lines(1 << 20, '\n');
  CHECK(llama3(spaces + "x") == Words{spaces.substr(1), " x"});
  CHECK(llama3(letters) == Words{letters});
  CHECK(llama3(spaces + lines) == Words{spaces + lines});
}

TEST_CASE("GPT-2: lower-case contractions, a space before numbers, no limit of three digits") {
  CHECK(gpt2("It's 12345!") == Words{"It", "'s", " 12345", "!"});
  CHECK(gpt2("WE'LL") == Words{"WE", "'", "LL"});
  CHECK(gpt2("a  \n b") == Words{"a", "  \n", " b"});
}

TEST_CASE("ByteLevel puts a space in front if it says so, and splits only if it does not say otherwise") {
  CHECK(words_of({{"type", "ByteLevel"}, {"add_prefix_space", true}}, "a b") == Words{" a", " b"});
  CHECK(words_of({{"type", "ByteLevel"}, {"add_prefix_space", true}}, " a") == Words{" a"});
  CHECK(words_of({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}, "a b") ==
        Words{"a b"});
}

TEST_CASE("Digits splits runs of digits, or every digit alone") {
  CHECK(words_of({{"type", "Digits"}, {"individual_digits", false}}, "a12b3") == Words{"a", "12", "b", "3"});
  CHECK(words_of({{"type", "Digits"}, {"individual_digits", true}}, "a12b") == Words{"a", "1", "2", "b"});
}

TEST_CASE("a Sequence splits what the step before it left") {
  const json sequence = {
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, split_by(" ?\\p{L}+")}}};
  CHECK(words_of(sequence, "ab cd12") == Words{"ab", " cd", "1", "2"});
}

TEST_CASE("Metaspace begins a word at every visible space, in front of the first as its scheme says") {
  const auto metaspace = [](const char* scheme) -> json {
    return {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}, {"split", true}};
  };
  CHECK(words_of(metaspace("always"), "a b") == Words{"\u2581a", "\u2581b"});
  CHECK(words_of(metaspace("never"), "a b") == Words{"a", "\u2581b"});
  CHECK(words_of(metaspace("first"), "a", /*first=*/true) == Words{"\u2581a"});
  CHECK(words_of(metaspace("first"), "a", /*first=*/false) == Words{"a"});
  CHECK(words_of(metaspace("always"), " a  b") == Words{"\u2581a", "\u2581", "\u2581b"});
  json whole = metaspace("always");
  whole["split"] = false;
  CHECK(words_of(whole, "a b") == Words{"\u2581a\u2581b"});
  const json old = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", false}};
  CHECK(words_of(old, "a b") == Words{"a", "\u2581b"});
}

TEST_CASE("without a pre_tokenizer the text is one word") {
  CHECK(words_of(nullptr, "a b\nc") == Words{"a b\nc"});
}

TEST_CASE("what a pre_tokenizer may not be is an error that names it") {
  const auto error = [](const json& node) { return error_of([&] { words_of(node, "a"); }); };
  CHECK_THAT(error({{"type", "UnicodeScripts"}}),
             ContainsSubstring("unsupported: tokenizer.json: pre_tokenizer: type 'UnicodeScripts'"));
  json unknown = split_by("a");
  unknown["behavior"] = "Dropped";
  CHECK_THAT(error(unknown), ContainsSubstring("file: ") && ContainsSubstring("Dropped"));
  CHECK_THAT(error(split_by("[[:punct:]]")),
             ContainsSubstring("unsupported: ") && ContainsSubstring("POSIX"));
  CHECK_THAT(error(split_by("(unclosed")),
             ContainsSubstring("unsupported: ") && ContainsSubstring("(unclosed"));
  CHECK_THAT(error({{"type", "Metaspace"}, {"prepend_scheme", "often"}}),
             ContainsSubstring("file: ") && ContainsSubstring("often"));
  CHECK_THAT(error({{"type", "ByteLevel"}, {"use_regex", "yes"}}),
             ContainsSubstring("file: ") && ContainsSubstring("use_regex"));
  CHECK_THAT(error({{"type", "Sequence"}, {"pretokenizers", 3}}),
             ContainsSubstring("file: ") && ContainsSubstring("pretokenizers"));
  CHECK_THAT(error(json::object()), ContainsSubstring("file: ") && ContainsSubstring("type"));
  CHECK_THAT(error("ByteLevel"), ContainsSubstring("file: ") && ContainsSubstring("pre_tokenizer"));
}

TEST_CASE("a normalizer prepends and replaces in the order it lists, and leaves an empty text alone") {
  const json sequence = {{"type", "Sequence"},
                         {"normalizers",
                          {{{"type", "Prepend"}, {"prepend", "\u2581"}},
                           {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}};
  const Normalizer normalizer({{"normalizer", sequence}}, "tokenizer.json");
  CHECK(normalizer.apply("a b  c") == "\u2581a\u2581b\u2581\u2581c");
  CHECK(normalizer.apply("") == "");
  const json twice = {{"type", "Replace"}, {"pattern", {{"String", "aa"}}}, {"content", "a"}};
  // The pattern is not looked for in text that a replacement has written.
  CHECK(Normalizer({{"normalizer", twice}}, "t").apply("aaaaa") == "aaa");
  CHECK(Normalizer(json::object(), "t").apply("a b") == "a b");
}

TEST_CASE("a string divides a text with each behavior") {
  const auto words = [](const char* behavior, bool invert = false) {
    return words_of(
        {{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}, {"invert", invert}},
        "-a--b");
  };
  CHECK(words("Removed") == Words{"a", "b"});
  CHECK(words("Isolated") == Words{"-", "a", "-", "-", "b"});
  CHECK(words("MergedWithPrevious") == Words{"-", "a-", "-", "b"});
  CHECK(words("MergedWithNext") == Words{"-a", "-", "-b"});
  CHECK(words("Contiguous") == Words{"-", "a", "--", "b"});
  CHECK(words("Removed", true) == Words{"-", "-", "-"});
}

TEST_CASE("white space, words and punctuation divide a text as Unicode has them") {
  const auto words = [](const char* type, const char* text) { return words_of({{"type", type}}, text); };
  CHECK(words("WhitespaceSplit", " a\u3000b.c\u180E ") == Words{"a", "b.c\u180E"});
  CHECK(words("Whitespace", "a_1.. b\u00B2\u20AC") == Words{"a_1", "..", "b", "\u00B2\u20AC"});
  CHECK(words("Punctuation", "a.b\u20AC$\u3002") == Words{"a", ".", "b\u20AC", "$", "\u3002"});
  CHECK(words("BertPreTokenizer", "a. b") == Words{"a", ".", "b"});
  CHECK(words_of({{"type", "CharDelimiterSplit"}, {"delimiter", "b"}}, "abca") == Words{"a", "ca"});
}

TEST_CASE("digits are Unicode 17's, and punctuation is an older Unicode's") {
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  CHECK(words_of(digits, "a\U00011DE0\U00016FF4\U00010D40") ==
        Words{"a", "\U00011DE0", "\U00016FF4", "\U00010D40"});
  CHECK(words_of({{"type", "Punctuation"}}, "a\u061D\u2E5Db\u061F") == Words{"a\u061D\u2E5Db", "\u061F"});
  CHECK(words_of({{"type", "Punctuation"}}, "a\u166Db") == Words{"a", "\u166D", "b"});
}

TEST_CASE("a prefix after another split goes before every word, but 'first' before a text's first alone") {
  const auto words = [](const json& second, bool first = true) {
    const json digits = {{"type", "Digits"}, {"individual_digits", true}};
    return words_of({{"type", "Sequence"}, {"pretokenizers", {digits, second}}}, "1a 2", first);
  };
  const auto metaspace = [](const char* scheme) {
    return json{{"type", "Metaspace"}, {"prepend_scheme", scheme}, {"split", false}};
  };
  CHECK(words(metaspace("always")) == Words{"\u25811", "\u2581a\u2581", "\u25812"});
  CHECK(words(metaspace("first")) == Words{"\u25811", "a\u2581", "2"});
  CHECK(words(metaspace("first"), /*first=*/false) == Words{"1", "a\u2581", "2"});
  CHECK(words({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}}) ==
        Words{" 1", " a ", " 2"});
}

TEST_CASE("what follows ByteLevel sees bytes as its alphabet spells them") {
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  CHECK(words_of({{"type", "Sequence"}, {"pretokenizers", {bytes, {{"type", "Digits"}}}}}, "a\u00F2 1") ==
        Words{"a\u00C3", "\u00B2", "\u0120", "1"});
}

TEST_CASE("Strip, Lowercase and a Replace of a regular expression normalise") {
  const auto normal = [](const json& node, const char* text) {
    return Normalizer({{"normalizer", node}}, "tokenizer.json").apply(text);
  };
  CHECK(normal({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}}, "\u3000a \n") == "a");
  CHECK(normal({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}}, " a ") == " a");
  CHECK(normal({{"type", "Lowercase"}}, "A\u00C9\u03A3\u0130\uA7CB\U00010D50\xFF") ==
        "a\u00E9\u03C3i\u0307\u0264\U00010D70\xFF");
  CHECK(normal({{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}}, "a \n b\t") ==
        "a b ");
}

TEST_CASE("what a normalizer may not be is an error that names it") {
  const auto error = [](const json& node) {
    return error_of([&] { Normalizer({{"normalizer", node}}, "tokenizer.json"); });
  };
  CHECK_THAT(error({{"type", "StripAccents"}}),
             ContainsSubstring("unsupported: tokenizer.json: normalizer: type 'StripAccents'"));
  CHECK_THAT(error({{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", ""}}),
             ContainsSubstring("unsupported: "));
  CHECK_THAT(error({{"type", "Prepend"}, {"prepend", 1}}),
             ContainsSubstring("file: ") && ContainsSubstring("prepend"));
  CHECK_THAT(error({{"type", "Sequence"}}), ContainsSubstring("file: ") && ContainsSubstring("normalizers"));
}

}  // namespace
}  // namespace seer
