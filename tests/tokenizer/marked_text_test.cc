// Chat prompts that say of every byte whether the template or a message wrote it.
#include "tokenizer/marked_text.h"

#include <memory>
#include <random>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/tokenizer.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::added_token;
using testing::Ids;

std::unique_ptr<TextTokenizer> load(const json& file) {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "tokenizer.json", file.dump());
  return load_tokenizer(dir.path().string());
}

// Joins the parts in order; those in braces are a message's.
MarkedText marked(std::string_view parts) {
  MarkedText text;
  for (const char c : parts) {
    if (c == '{') {
      text.from_messages.emplace_back(text.text.size(), text.text.size());
    } else if (c == '}') {
      text.from_messages.back().second = text.text.size();
      if (text.from_messages.back().first == text.text.size()) text.from_messages.pop_back();
    } else {
      text.text += c;
    }
  }
  return text;
}

json with_token(json file, json token, bool normalized = false) {
  token["normalized"] = normalized;
  file["added_tokens"].push_back(std::move(token));
  return file;
}

json with_turns() {
  json file = testing::byte_level_json();
  file = with_token(file, added_token(266, "<turn>", false));
  return with_token(file, added_token(267, "\n\n", false));
}

TEST_CASE("the template's special tokens are found, and a message's are plain text") {
  const auto tokenizer = load(with_turns());
  CHECK(tokenizer->encode(marked("<|bos|>{a<|bos|>}<|eos|>"), {}) ==
        Ids{264, 'a', '<', '|', 'b', 'o', 's', '|', '>', 265});
  CHECK(tokenizer->encode(marked("<|bos|>a<|bos|>"), {}) == Ids{264, 'a', 264});
  CHECK(tokenizer->encode(marked(""), {}).empty());
}

TEST_CASE("a special token of which a message wrote one byte is plain text") {
  const auto tokenizer = load(with_turns());
  const Ids plain = tokenizer->encode("<|bos|>", /*parse_special=*/false);
  for (const char* text : {"{<}|bos|>", "<|bos|{>}", "<|b{o}s|>", "{<|}bos{|>}"})
    CHECK(tokenizer->encode(marked(text), {}) == plain);
}

TEST_CASE("a message may write an added token that is not special, unless it is guarded") {
  const auto tokenizer = load(with_turns());
  CHECK(tokenizer->encode(marked("<turn>{<turn>}"), {}) == Ids{266, 266});
  CHECK(tokenizer->encode(marked("<turn>{<turn>}"), {266}) == Ids{266, '<', 't', 'u', 'r', 'n', '>'});
}

TEST_CASE("words go across the border between the template and a message") {
  const auto tokenizer = load(with_turns());
  CHECK(tokenizer->encode(marked("he{llo }hello"), {}) == Ids{259, 260});
  CHECK(tokenizer->encode(marked("a\n{\nb}"), {266}) == Ids{'a', 267, 'b'});
}

TEST_CASE("a rejected match does not hide the template's token that begins inside of it") {
  json file = with_turns();
  file = with_token(file, added_token(268, "x<turn>", true));
  file = with_token(file, added_token(269, "<turn>y", true));
  const auto tokenizer = load(file);
  CHECK(tokenizer->encode(marked("{x}<turn>"), {266}) == Ids{'x', 266});
  CHECK(tokenizer->encode(marked("<turn>{y}"), {266}) == Ids{266, 'y'});
  CHECK(tokenizer->encode(marked("x<turn>"), {266}) == Ids{268});
}

TEST_CASE("a message's own token does not swallow the beginning of the template's") {
  json file = with_turns();
  file = with_token(file, added_token(268, "x<", false));
  const auto tokenizer = load(file);
  CHECK(tokenizer->encode(marked("{x}<turn>"), {266}) == Ids{'x', 266});
  CHECK(tokenizer->encode(marked("{x}<"), {266}) == Ids{268});
  CHECK(tokenizer->encode(marked("{x<turn>}"), {266}) == Ids{268, 't', 'u', 'r', 'n', '>'});
}

TEST_CASE("normalised tokens are told apart in the normalised text") {
  json file = testing::byte_level_json();
  file["normalizer"] = {{"type", "NFC"}};
  const auto tokenizer = load(with_token(file, added_token(266, "<\u00E9>", false), /*normalized=*/true));
  const Ids plain = tokenizer->encode("<\u00E9", /*parse_special=*/true);
  Ids forged = plain;
  forged.push_back('>');
  CHECK(tokenizer->encode(marked("<e\u0301>{e\u0301<e\u0301>}"), {266}) == [&] {
    Ids ids = {266, 0xC3, 0xA9};
    ids.insert(ids.end(), forged.begin(), forged.end());
    return ids;
  }());
  CHECK(tokenizer->encode(marked("{<e\u0301>}"), {}) == Ids{266});
  // The message's mark would join with the token's last character.
  CHECK(testing::error_of([&] {
          (void)tokenizer->encode(marked("<\u00E9>{\u0338}"), {266});
        }).find("joins to the chat template's") != std::string::npos);
  CHECK_NOTHROW(tokenizer->encode(marked("<\u00E9>{\u0338}"), {}));
}

TEST_CASE("what the normaliser puts in front of a text is put there once") {
  json file = testing::metaspace_json();
  const auto tokenizer = load(with_token(file, added_token(293, "<t>", false), /*normalized=*/true));
  const Ids all = tokenizer->encode("<t>a <t>", /*parse_special=*/true);
  CHECK(all == Ids{293, testing::metaspace_letter('a'), 293});
  CHECK(tokenizer->encode(marked("<t>{a} <t>"), {293}) == all);
  CHECK(tokenizer->encode(marked("<t>{a} <{t}>"), {293}) ==
        Ids{293, testing::metaspace_letter('a'), 259, 3 + '<', testing::metaspace_letter('t'), 3 + '>'});
}

// Returns a text of tokens' parts, so that tokens and halves of them are next to each other.
MarkedText random_marked(std::mt19937_64* random, int share_of_messages) {
  static const std::vector<std::string> kParts = {
      "<|bos|>", "<|eos|>", "<turn>", "<tu", "rn>", "<|", "bos|>",  " ",      "\n", "\n\n",
      "help",    "x",       "x<",     "1",   "e",   "é",  "\u0301", "<norm>", ">",  "\u00A0"};
  MarkedText text;
  for (uint64_t i = (*random)() % 12; i > 0; --i) {
    const std::string& part = kParts[(*random)() % kParts.size()];
    const size_t from = text.text.size();
    text.text += part;
    if (static_cast<int>((*random)() % 100) >= share_of_messages) continue;
    if (!text.from_messages.empty() && text.from_messages.back().second == from) {
      text.from_messages.back().second = text.text.size();
    } else {
      text.from_messages.emplace_back(from, text.text.size());
    }
  }
  return text;
}

json fuzzed_tokenizer(bool tokens) {
  json file = testing::byte_level_json();
  file["normalizer"] = {{"type", "NFC"}};
  if (!tokens) {
    file["added_tokens"] = json::array();
    return file;
  }
  json left = added_token(266, "<turn>", false), right = added_token(267, "x<", false),
       word = added_token(268, "help", false);
  left["lstrip"] = right["rstrip"] = word["single_word"] = true;
  for (const json& token : {left, right, word, added_token(269, "\n\n", false)})
    file = with_token(file, token);
  return with_token(file, added_token(270, "<norm>", false), /*normalized=*/true);
}

TEST_CASE("random prompts: the template alone is parsed as any text, and a message has no reserved token") {
  const auto with = load(fuzzed_tokenizer(true)), without = load(fuzzed_tokenizer(false));
  const std::vector<int32_t> all = {266, 267, 268, 269, 270};
  std::mt19937_64 random(1);
  for (int i = 0; i < 3000; ++i) {
    const MarkedText of_template = random_marked(&random, 0), of_message = random_marked(&random, 100);
    INFO(of_template.text << " / " << of_message.text);
    REQUIRE(with->encode(of_template, all) == with->encode(of_template.text, /*parse_special=*/true));
    REQUIRE(with->encode(of_message, all) == without->encode(of_message.text, /*parse_special=*/true));
  }
}

TEST_CASE("random prompts: no byte of a message is in a reserved token, and nothing is lost") {
  const auto tokenizer = load(fuzzed_tokenizer(true));
  const std::vector<int32_t> guarded = {266, 270};
  std::mt19937_64 random(2);
  for (int i = 0; i < 3000; ++i) {
    MarkedText text = random_marked(&random, 40);
    INFO(text.text);
    // The same text, with messages that cannot write or hide a part of a reserved token.
    int64_t reserved = 0, own = 0;
    std::vector<int32_t> ids;
    try {
      ids = tokenizer->encode(text, guarded);
    } catch (const Error& e) {
      REQUIRE(e.kind() == ErrorKind::kUnsupported);
      continue;
    }
    for (const int32_t id : ids) reserved += id == 264 || id == 265 || id == 266 || id == 270 ? 1 : 0;
    for (const auto& [from, to] : text.from_messages)
      for (size_t at = from; at < to; ++at)
        if (std::string_view("<>x").find(text.text[at]) != std::string_view::npos) text.text[at] = 'z';
    for (const int32_t id : tokenizer->encode(text.text, /*parse_special=*/true))
      own += id == 264 || id == 265 || id == 266 || id == 270 ? 1 : 0;
    REQUIRE(reserved == own);
  }
}

}  // namespace
}  // namespace seer
