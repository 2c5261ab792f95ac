// Added tokens are cut out of a text before the vocabulary's model sees it (Hugging Face's AddedVocabulary).
#include "tokenizer/added_tokens.h"

#include "tests/support/catch.h"

namespace seer {
namespace {

// Returns the parts of a text as one readable line: "plain|<7>|plain".
std::string parts(const AddedTokens& tokens, std::string_view text, bool parse_special = true) {
  std::string line;
  for (const AddedTokens::Part& part : tokens.split(text, parse_special)) {
    if (!line.empty()) line += '|';
    line += part.id < 0 ? std::string(part.text) : "<" + std::to_string(part.id) + ">";
  }
  return line;
}

AddedToken token(int32_t id, const std::string& content) {
  AddedToken t;
  t.id = id;
  t.content = content;
  return t;
}

TEST_CASE("a text without added tokens is one part, an empty text none") {
  AddedTokens tokens;
  tokens.add(token(7, "[A]"));
  CHECK(parts(tokens, "plain [B] text") == "plain [B] text");
  CHECK(tokens.split("", true).empty());
}

TEST_CASE("added tokens are found at the start, in the middle, at the end and side by side") {
  AddedTokens tokens;
  tokens.add(token(7, "[A]"));
  CHECK(parts(tokens, "[A]") == "<7>");
  CHECK(parts(tokens, "[A]x[A][A]y[A]") == "<7>|x|<7>|<7>|y|<7>");
}

TEST_CASE("the longest of several tokens that begin alike wins, in whatever order they were added") {
  for (const bool long_first : {false, true}) {
    AddedTokens tokens;
    tokens.add(token(long_first ? 8 : 7, long_first ? "ab" : "a"));
    tokens.add(token(long_first ? 7 : 8, long_first ? "a" : "ab"));
    CHECK(parts(tokens, "abaxab") == "<8>|<7>|x|<8>");
  }
}

TEST_CASE("special tokens are text unless they are asked for, other added tokens never are") {
  AddedTokens tokens;
  AddedToken special = token(7, "<s>");
  special.special = true;
  tokens.add(special);
  tokens.add(token(8, "<tool>"));
  CHECK(parts(tokens, "<s><tool>", /*parse_special=*/false) == "<s>|<8>");
  CHECK(parts(tokens, "<s><tool>", /*parse_special=*/true) == "<7>|<8>");
}

TEST_CASE("lstrip takes the white space before a token along, rstrip that after it") {
  AddedTokens tokens;
  AddedToken left = token(7, "[L]"), right = token(8, "[R]");
  left.lstrip = true;
  right.rstrip = true;
  tokens.add(left);
  tokens.add(right);
  tokens.add(token(9, "[N]"));
  CHECK(parts(tokens, "a \t\n[L] b") == "a|<7>| b");
  CHECK(parts(tokens, "a [R] \t\nb") == "a |<8>|b");
  CHECK(parts(tokens, "a [N] b") == "a |<9>| b");
  CHECK(parts(tokens, "  [L]") == "<7>");
  CHECK(parts(tokens, "[R]  ") == "<8>");
  CHECK(parts(tokens, "[R] [L]") == "<8>|<7>");  // the first token includes the space
}

TEST_CASE("lstrip and rstrip take every white space of Unicode, U+180E not being one") {
  AddedTokens tokens;
  AddedToken both = token(7, "[B]");
  both.lstrip = both.rstrip = true;
  tokens.add(both);
  CHECK(parts(tokens, "a\u00A0\u3000\u180E\u2003[B]\u0085\u2028\u200Bb") ==
        "a\u00A0\u3000\u180E|<7>|\u200Bb");
  CHECK(parts(tokens, "\xA0 [B] \x85") == "\xA0|<7>|\x85");  // bytes that are no characters
}

TEST_CASE("a token within the white space that another took along is found all the same") {
  AddedTokens tokens;
  AddedToken right = token(7, "[R]");
  right.rstrip = true;
  tokens.add(right);
  tokens.add(token(8, "\n"));
  CHECK(parts(tokens, "[R] \n x") == "<7>|<8>| x");
}

TEST_CASE("a token that takes white space along on both sides can leave nothing of an equal one after it") {
  AddedTokens tokens;
  AddedToken both = token(7, "\n\n");
  both.lstrip = both.rstrip = true;
  tokens.add(both);
  CHECK(parts(tokens, "a\n\n\n\nb") == "a|<7>|b");
}

TEST_CASE("a text that a rejected match covers is not searched again") {
  AddedTokens tokens;
  AddedToken word = token(7, "abc"), special = token(9, "<b>");
  word.single_word = true;
  special.special = true;
  tokens.add(word);
  tokens.add(token(8, "b"));
  tokens.add(special);
  CHECK(parts(tokens, "xabc abc b") == "xabc |<7>| |<8>");
  CHECK(parts(tokens, "<b>b", /*parse_special=*/false) == "<b>|<8>");
}

TEST_CASE("normalised tokens are found in their own stage, in the spelling they were given") {
  AddedTokens tokens;
  AddedToken normalized = token(7, "[A]");
  normalized.normalized = true;
  tokens.add(normalized, "[a]");
  tokens.add(token(8, "[B]"));
  CHECK(parts(tokens, "[A][a][B]") == "[A][a]|<8>");
  const auto second = tokens.split("[A][a][B]", true, AddedTokens::Stage::kNormalized);
  REQUIRE(second.size() == 3);
  CHECK(second[1].id == 7);
  CHECK(tokens.id_of("[A]") == 7);
}

TEST_CASE("single_word goes by the word characters of Unicode") {
  AddedTokens tokens;
  AddedToken word = token(7, "ab");
  word.single_word = true;
  tokens.add(word);
  CHECK(parts(tokens, "\u2014ab\u2014") == "\u2014|<7>|\u2014");
  CHECK(parts(tokens, "ab\u00B2") == "<7>|\u00B2");
  CHECK(parts(tokens,
              "\xFF"
              "ab\xE4\xBD") == "\xFF|<7>|\xE4\xBD");
  for (const char* text :
       {"\u0301ab", "ab\u0301", "ab\u24B6", "ab\u200D", "ab\u2160", "ab\u203F", "\U0001421Eab", "ab\u4F60"})
    CHECK(parts(tokens, text) == text);
}

TEST_CASE("single_word matches only where no letter, digit or underscore touches") {
  AddedTokens tokens;
  AddedToken word = token(7, "ab");
  word.single_word = true;
  tokens.add(word);
  CHECK(parts(tokens, "ab") == "<7>");
  CHECK(parts(tokens, "(ab)") == "(|<7>|)");
  CHECK(parts(tokens, "ab ab") == "<7>| |<7>");
  for (const char* text : {"abc", "cab", "ab1", "_ab", "\u00E9ab"}) CHECK(parts(tokens, text) == text);
}

TEST_CASE("a second token of the same id replaces the first") {
  AddedTokens tokens;
  tokens.add(token(7, "old"));
  tokens.add(token(7, "new"));
  CHECK(parts(tokens, "old new") == "old |<7>");
  CHECK(tokens.id_of("old") == -1);
  CHECK(tokens.id_of("new") == 7);
  REQUIRE(tokens.find(7) != nullptr);
  CHECK(tokens.find(7)->content == "new");
  CHECK(tokens.find(8) == nullptr);
  CHECK(tokens.all().size() == 1);
}

TEST_CASE("a token without content matches nowhere") {
  AddedTokens tokens;
  tokens.add(token(7, ""));
  CHECK(parts(tokens, "text") == "text");
  CHECK(tokens.id_of("") == -1);
}

}  // namespace
}  // namespace seer
