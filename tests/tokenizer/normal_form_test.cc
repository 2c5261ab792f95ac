// Normal forms of the Hugging Face tokenizers library (0.23.3), which has the tables of Unicode 9.
#include "tokenizer/normal_form.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/utf8.h"

namespace seer {
namespace {

std::string nfc(std::string_view text) { return normal_form(text, NormalForm::kNfc); }

TEST_CASE("NFC composes, puts marks in order, and leaves a composed text as it is") {
  CHECK(nfc("e\u0301a\u0308o\u0302\u0301") == "\u00E9\u00E4\u1ED1");
  CHECK(nfc("a\u0302\u0323") == "\u1EAD");
  CHECK(nfc("\u00E9\u1EAD \u4F60\uAC00 abc") == "\u00E9\u1EAD \u4F60\uAC00 abc");
  CHECK(nfc("") == "");
  CHECK(nfc("\u0301a") == "\u0301a");
  CHECK(nfc("x\u0301") == "x\u0301");
  CHECK(nfc("\u00E9\u0323") == "\u1EB9\u0301");  // it is decomposed first
}

TEST_CASE("NFC composes with an ASCII letter, wherever it is") {
  CHECK(nfc("e\u0301") == "\u00E9");
  CHECK(nfc("abce\u0301xe\u0301") == "abc\u00E9x\u00E9");
  CHECK(nfc("\u00E9e\u0301") == "\u00E9\u00E9");
  CHECK(nfc("\u4F60"
            "e\u0301\u4F60"
            "e\u0301") == "\u4F60\u00E9\u4F60\u00E9");
}

TEST_CASE("NFC replaces what has one canonical equivalent, and composes Hangul") {
  CHECK(nfc("\u212B\u2126\u212A") == "\u00C5\u03A9K");
  CHECK(nfc("\uF900") == "\u8C48");
  CHECK(nfc("\u0958") == "\u0915\u093C");  // excluded from composition
  CHECK(nfc("\u1112\u1161\u11AB\u1100\u116E\u11A8") == "\uD55C\uAD6D");
  CHECK(nfc("\uAC00\u11A8") == "\uAC01");
  CHECK(nfc("\uC5B4\u11A7\u11B9") == "\uC5B4\u11A7\u11B9");  // U+11A7 is no final consonant
}

TEST_CASE("the other forms take apart, or replace compatible characters too") {
  const std::string text = "\u00E9\uFB01\u00B2\uAC01\u2460";
  CHECK(normal_form(text, NormalForm::kNfd) == "e\u0301\uFB01\u00B2\u1100\u1161\u11A8\u2460");
  CHECK(normal_form(text, NormalForm::kNfkc) ==
        "\u00E9fi2\uAC01"
        "1");
  CHECK(normal_form(text, NormalForm::kNfkd) ==
        "e\u0301fi2\u1100\u1161\u11A8"
        "1");
  CHECK(normal_form("\uFDFA", NormalForm::kNfkd).size() == 33);  // the longest: 18 characters
}

TEST_CASE("characters that came after Unicode 9 stay where they are, and nothing moves past them") {
  CHECK(nfc("x\u0363\u1AC3") == "x\u0363\u1AC3");
  CHECK(nfc("a\u1AC3\u0301") == "a\u1AC3\u0301");
  CHECK(nfc("\U00011935\U00011930") == "\U00011935\U00011930");
  CHECK(normal_form("\U00011938", NormalForm::kNfd) == "\U00011938");
  CHECK(normal_form("\u32FF\U0001FBF0", NormalForm::kNfkc) == "\u32FF\U0001FBF0");
}

TEST_CASE("bytes that are not UTF-8 stay as they are, and nothing composes across them") {
  CHECK(nfc("e\xFF\u0301") == "e\xFF\u0301");
  CHECK(nfc("\xC3"
            "e\u0301\xE4\xBD") == "\xC3\u00E9\xE4\xBD");
  CHECK(nfc("\xED\xA0\x80"
            "e\u0301\xF4\x90\x80\x80") == "\xED\xA0\x80\u00E9\xF4\x90\x80\x80");
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string bytes = testing::random_bytes(seed, 64);
    for (const NormalForm form : {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
      const std::string once = normal_form(bytes, form);
      CHECK(normal_form(once, form) == once);
    }
  }
}

TEST_CASE("a text that is normal stays so, whichever way it came to be") {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string text = testing::random_text(seed, 100);
    INFO(text);
    CHECK(nfc(nfc(text)) == nfc(text));
    CHECK(nfc(normal_form(text, NormalForm::kNfd)) == nfc(text));
    CHECK(normal_form(nfc(text), NormalForm::kNfd) == normal_form(text, NormalForm::kNfd));
  }
}

TEST_CASE("a long run of marks in the worst order is sorted in no time") {
  std::string marks, below, above;
  for (int i = 0; i < 100000; ++i) {
    marks += "\u0301\u0323";
    below += "\u0323";
    above += "\u0301";
  }
  CHECK((nfc("x" + marks) == "x" + below + above));
}

}  // namespace
}  // namespace seer
