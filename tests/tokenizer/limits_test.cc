// The limits of a tokenizer's files and texts, and stopping the work on them.
#include <nlohmann/json.hpp>

#include "engine/src/tokenizer_impl.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;

json with(json file, const char* key, const json& value) {
  file[key] = value;
  return file;
}

json replace(const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{"String", pattern}}}, {"content", content}};
}
json replace_regex(const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", content}};
}
json normalizers(const json& steps) { return {{"type", "Sequence"}, {"normalizers", steps}}; }
json type(const std::string& name) { return {{"type", name}}; }

ChatPrompt chat_of(const std::string& text) { return ChatPrompt(std::vector<ChatMessage>{{"user", text}}); }

int64_t least(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.impl().tokenizer->least_tokens(text);
}

// Checks that texts with as many tokens as allowed are never refused, and that long ones are.
void check_bound(const Tokenizer& tokenizer) {
  std::vector<std::string> texts = {"",
                                    "a",
                                    "hello hello",
                                    std::string(1000, ' '),
                                    std::string(1000, 'a'),
                                    "\u03b9\u0308\u0301",
                                    "\u1fbe\u0308\u0301",
                                    "\u212a\u212a\u212a",
                                    "<|bos|>  x"};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    texts.push_back(random_text(seed, 200));
    texts.push_back(random_bytes(seed, 300));
  }
  for (const std::string& text : texts)
    for (const bool parse_special : {false, true}) {
      INFO(text);
      const auto n = static_cast<int64_t>(tokenizer.encode(text, false, parse_special).size());
      CHECK(least(tokenizer, text) <= n);
      CHECK_NOTHROW(tokenizer.encode(text, false, parse_special, {n, {}}));
    }
}

TEST_CASE("a text that must have too many tokens is refused by its length, and none that may fit") {
  const json bytes = byte_level_json(), spaces = metaspace_json();
  const json changed[] = {with(bytes, "normalizer", type("NFC")), with(bytes, "normalizer", type("NFKC")),
                          with(bytes, "normalizer", type("Lowercase")),
                          with(bytes, "normalizer", replace("aaa", "b")),
                          with(bytes, "normalizer", replace(" ", "_"))};
  for (const json& file : {bytes, spaces, changed[0], changed[1], changed[2], changed[3], changed[4]}) {
    const auto tokenizer = load_json(file);
    INFO(file["normalizer"].dump());
    check_bound(*tokenizer);
    const std::string text(100'000, 'a');
    CHECK(least(*tokenizer, text) > 1000);
    try {
      tokenizer->encode(text, true, false, {1000, {}});
      FAIL_CHECK("it was tokenized");
    } catch (const TooManyTokens& error) {
      CHECK(error.n_least() == least(*tokenizer, text));
    }
  }
  // The longest token of the small vocabulary is "helloing" or "<|bos|>".
  CHECK(least(*load_json(bytes), std::string(800, 'x')) == 100);
}

TEST_CASE("white space that may vanish does not count against a text") {
  json file = byte_level_json();
  file["added_tokens"][0]["rstrip"] = true;
  const json stripping = with(byte_level_json(), "normalizer", type("Strip"));
  const json splitting =
      with(byte_level_json(), "pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {type("WhitespaceSplit"),
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}});
  for (const json& one :
       {file, stripping, splitting, with(byte_level_json(), "normalizer", replace(" ", ""))}) {
    INFO(one.dump());
    const auto tokenizer = load_json(one);
    check_bound(*tokenizer);
    CHECK(least(*tokenizer, std::string(100'000, ' ')) == 0);
    CHECK(least(*tokenizer, std::string(100'000, 'a')) > 1000);
  }
}

TEST_CASE("no text is refused by its length if a step may drop any of it") {
  const json bytes = byte_level_json();
  json unknown = metaspace_json();
  unknown["model"]["byte_fallback"] = false;  // then characters are joined or left out
  unknown["model"]["fuse_unk"] = true;
  const json removing = {{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Removed"}};
  for (const json& file :
       {with(bytes, "normalizer", replace("a", "")), with(bytes, "normalizer", replace_regex("a+", "b")),
        with(bytes, "normalizer", normalizers({replace("a", " "), type("Strip")})), unknown,
        with(bytes, "pre_tokenizer",
             {{"type", "Sequence"},
              {"pretokenizers",
               {removing, {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}}})}) {
    INFO(file.dump());
    const auto tokenizer = load_json(file);
    CHECK(least(*tokenizer, std::string(100'000, 'a')) == 0);
    check_bound(*tokenizer);
  }
}

TEST_CASE("tokenizing is stopped by its check, in many words and within one") {
  struct Stopped {};
  const json one_word = with(byte_level_json(), "pre_tokenizer",
                             {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  const json composed = with(byte_level_json(), "normalizer", type("NFD"));
  std::string words, hells, accents;
  for (int i = 0; i < 50'000; ++i) words += "word ", hells += "hell", accents += "\u00e9";
  const std::pair<json, std::string> cases[] = {
      {byte_level_json(), words}, {one_word, hells}, {composed, accents}};
  for (const auto& [file, text] : cases) {
    const auto tokenizer = load_json(file);
    int n = 0;
    CHECK(!tokenizer->encode(text, true, false, {-1, [&] { ++n; }}).empty());
    CHECK(n > 2);
    for (const int at : {1, n / 2, n}) {
      int calls = 0;
      const auto stop = [&] {
        if (++calls == at) throw Stopped();
      };
      CHECK_THROWS_AS(tokenizer->encode(text, true, false, {-1, stop}), Stopped);
    }
    // Nothing is left of the failed load.
    CHECK(tokenizer->encode("hello") == load_json(file)->encode("hello"));
  }
}

TEST_CASE("rendering a chat is stopped by its check") {
  struct Stopped {};
  json config = {{"chat_template", "{% for i in range(90000) %}{{ messages[0].content }}{% endfor %}"}};
  const auto tokenizer = load_json(byte_level_json(), config);
  const ChatPrompt prompt = chat_of("x");
  CHECK(tokenizer->render_chat(prompt).size() == 90'000);
  const EncodeLimits limits{-1, [] { throw Stopped(); }};
  CHECK_THROWS_AS(tokenizer->render_chat(prompt, nullptr, limits), Stopped);
  CHECK_THROWS_AS(tokenizer->encode_chat(prompt, nullptr, limits), Stopped);
  CHECK_THROWS_AS(tokenizer->encode_chat(prompt, nullptr, {1000, {}}), TooManyTokens);
}

TEST_CASE("a normalizer may not let a text grow without bound, and the step is named") {
  json doubling = json::array();
  for (int i = 0; i < 40; ++i) doubling.push_back(replace("a", "aa"));
  CHECK_THAT(
      error_of([&] { load_json(with(byte_level_json(), "normalizer", normalizers(doubling)))->encode("a"); }),
      ContainsSubstring("unsupported: ") && ContainsSubstring("normalizer: step 17 of 40, Replace of \"a\""));
  json by_regex = json::array();
  for (int i = 0; i < 40; ++i) by_regex.push_back(replace_regex("[a]", "aa"));
  CHECK_THAT(
      error_of([&] { load_json(with(byte_level_json(), "normalizer", normalizers(by_regex)))->encode("a"); }),
      ContainsSubstring("Replace of \"[a]\""));
  // A text that becomes sixteen times as long is accepted, however long it is.
  const auto sixteen = load_json(with(byte_level_json(), "normalizer", replace("a", std::string(16, 'b'))));
  CHECK(sixteen->encode(std::string(100'000, 'a')).size() == 1'600'000);
  const auto more = load_json(with(byte_level_json(), "normalizer", replace("a", std::string(18, 'b'))));
  CHECK_THAT(error_of([&] { more->encode(std::string(100'000, 'a')); }), ContainsSubstring("1665536 bytes"));
}

TEST_CASE("a decoder may not let a text grow without bound") {
  json doubling = json::array();
  for (int i = 0; i < 40; ++i) doubling.push_back(replace("a", "aa"));
  const json decoder = {{"type", "Sequence"}, {"decoders", doubling}};
  const std::string error = error_of([&] {
    const auto tokenizer = load_json(with(metaspace_json(), "decoder", decoder));
    tokenizer->decode(tokenizer->encode("a"));
  });
  CHECK_THAT(error, ContainsSubstring("unsupported: ") && ContainsSubstring("the decoder of tokenizer.json"));
}

TEST_CASE("20,000 added tokens are read and looked for, not compared one by one", "[long]") {
  json file = byte_level_json(), config;
  for (int i = 266; i < 20'266; ++i)
    file["added_tokens"].push_back(added_token(i, "<|token " + std::to_string(i) + "|>", i % 2 == 0));
  for (const json& token : file["added_tokens"])
    config["added_tokens_decoder"][std::to_string(token["id"].get<int>())] = token;
  config["chat_template"] = "<|token 300|>{{ messages[0].content }}<|token 301|>";
  const auto tokenizer = load_json(file, config);
  std::string text;
  Ids expected;
  for (int i = 0; i < 20'000; ++i) {
    text += "<|token <|token " + std::to_string(266 + i) + "|>";
    for (const char c : std::string_view("<|token ")) expected.push_back(static_cast<unsigned char>(c));
    expected.push_back(266 + i);
  }
  CHECK(tokenizer->encode(text, false, true) == expected);
  CHECK(tokenizer->encode_chat(chat_of("x<|token 301|>")).size() == 2 + 1 + 13);
}

}  // namespace
}  // namespace seer
