// Regular expressions have Oniguruma's meaning. Expected splits are those of tokenizers 0.23.3.
#include "tokenizer/regex.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using Words = std::vector<std::string>;

Words words(const std::string& pattern, const std::string& text) {
  std::vector<Span> spans;
  Regex(pattern, "tokenizer.json").find(text, &spans);
  std::vector<std::string_view> parts;
  divide(text, Behavior::kIsolated, &spans, &parts);
  return {parts.begin(), parts.end()};
}

TEST_CASE("white space is Unicode's, in a set and out of it") {
  CHECK(words("[^\\s]+", "a \u180E b") == Words{"a", " ", "\u180E", " ", "b"});
  CHECK(words("[\\Sx]+", "a\u180E\u3000b") == Words{"a\u180E", "\u3000", "b"});
  CHECK(words("\\s+", "a\u0085\u00A0\u2028\u205Fb\u200B") ==
        Words{"a", "\u0085\u00A0\u2028\u205F", "b\u200B"});
  CHECK(words("\\S+", "a\u3000\u180E") == Words{"a", "\u3000", "\u180E"});
}

TEST_CASE("word characters are letters, marks, digits and connectors, and some numbers") {
  const std::string text = "a\u00B2\u24B6\u0301_\u203F-1\u200Dz";
  CHECK(words("\\w+", text) == Words{"a\u00B2\u24B6\u0301_\u203F", "-", "1", "\u200D", "z"});
  CHECK(words("\\W+", "a \u00B2-b") == Words{"a", " ", "\u00B2", "-", "b"});
  CHECK(words("\\bx", "x ax\u0301 \u0301x") == Words{"x", " ax\u0301 \u0301x"});
  CHECK(words("\\Bx", "x ax") == Words{"x a", "x"});
}

TEST_CASE("characters of Unicode 15 and 16 have their categories") {
  CHECK(words("\\p{L}+", "1\u1C89a\U0002EBF0") == Words{"1", "\u1C89a\U0002EBF0"});
  CHECK(words("[\\p{P}\\p{S}]+", "a\U0001FAE8!") == Words{"a", "\U0001FAE8!"});
  CHECK(words("\\P{L}+", "a\u1C89 1b") == Words{"a\u1C89", " 1", "b"});
  CHECK(words("\\p{^L}+", "a12b") == Words{"a", "12", "b"});
  CHECK(words("\\D+", "1ab2\U00010D40") == Words{"1", "ab", "2\U00010D40"});
  CHECK(words("[^\\p{L}]+", "a\u1C89-b") == Words{"a\u1C89", "-", "b"});
}

TEST_CASE("a script is its own characters, without those it shares") {
  CHECK(words("\\p{Han}+", "a\u6F22\u5B57\u3005\u30FC\U0002EBF0b") ==
        Words{"a", "\u6F22\u5B57\u3005", "\u30FC", "\U0002EBF0", "b"});
}

TEST_CASE("^ and $ hold at every line, the dot stops at LF alone") {
  CHECK(words("^a|b$", "a\nab\nb") == Words{"a", "\n", "a", "b", "\n", "b"});
  CHECK(words("b$", "b\n") == Words{"b", "\n"});
  CHECK(words("\\s+$", "a \r b  ") == Words{"a \r b", "  "});
  CHECK(words("a.b", "a\nb a\rb") == Words{"a\nb ", "a\rb"});
  CHECK(words("(?m:a.b)", "a\nb") == Words{"a\nb"});
}

TEST_CASE("escapes and intervals that PCRE2 reads otherwise") {
  CHECK(words("\\h+", "xaF0g") == Words{"x", "aF0", "g"});
  CHECK(words("\\v", "a\v\nb") == Words{"a", "\v", "\nb"});
  CHECK(words("[\\u3000-\\u3002]+", "a\u3000\u3001b") == Words{"a", "\u3000\u3001", "b"});
  CHECK(words("a{,2}b", "aaab") == Words{"a", "aab"});
  CHECK(words("a{b", "xa{b") == Words{"x", "a{b"});
}

TEST_CASE("an empty match divides the text") {
  CHECK(words("(?=[A-Z])", "aBcD") == Words{"a", "Bc", "D"});
  CHECK(words("(?=[A-Z])", "ABC") == Words{"A", "B", "C"});
  CHECK(words("(?=(\\d{3})+(?!\\d))", "1234567 12") == Words{"1", "234", "567 12"});
}

TEST_CASE("options at the beginning hold for the whole pattern") {
  CHECK(words("(?i)ab|C", "ABcab") == Words{"AB", "c", "ab"});
  CHECK(words("(?i:'s)", "a'\u017F'S") == Words{"a", "'\u017F", "'S"});  // the long s folds to s
}

TEST_CASE("what PCRE2 would take for something else is refused by name") {
  struct Refused {
    const char *pattern, *named;
  };
  for (const Refused& c :
       {Refused{"[a[bc]]", "a set within a set"}, Refused{"[a&&b]", "intersection"},
        Refused{"[\\W]", "\\W in a set"}, Refused{"(*FAIL)", "(*"}, Refused{"a(?i)b", "(?i)"},
        Refused{"(?P<x>a)", "(?P"}, Refused{"a{1,2}+", "an interval"}, Refused{"a{2}?", "an interval"},
        Refused{"\\yx", "\\y"}, Refused{"\\xFF", "a byte"}, Refused{"\\u12", "\\u"},
        Refused{"\\pL", "braces"}, Refused{"[a", "without an end"}, Refused{"a\\", "at the end"},
        Refused{"\\p{Nonsense}", "Nonsense"}}) {
    INFO(c.pattern);
    CHECK_THAT(testing::error_of([&] { words(c.pattern, "a"); }),
               ContainsSubstring("unsupported: tokenizer.json: ") && ContainsSubstring(c.named));
  }
}

TEST_CASE("a pattern that tries exponentially many ways is ended with its name, a long text is not") {
  for (const size_t n : {28, 60, 10'000}) {
    const std::string error = testing::error_of([&] { words("(?:a|a)+[bc]", std::string(n, 'a')); });
    CHECK_THAT(error, ContainsSubstring("tokenizer.json") && ContainsSubstring("\"(?:a|a)+[bc]\"") &&
                          ContainsSubstring(std::to_string(n) + " bytes"));
  }
  CHECK(words("(?:a|a)+[bc]", "aaab") == Words{"aaab"});
  // The match goes back as many steps as the text is long, and its repetition is deeper than the stack of
  // compiled code.
  const std::string spaces(1'000'000, ' ');
  CHECK(words("\\s+(?!\\S)|\\s+", spaces + "a") == Words{spaces.substr(1), " ", "a"});
  const std::string letters(100'000, 'a');
  CHECK(words("(?:a|b)+", letters) == Words{letters});
}

}  // namespace
}  // namespace seer
