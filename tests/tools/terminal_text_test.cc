// The texts of others as a terminal and a log show them.
#include "tools/seer/terminal_text.h"

#include "tests/support/catch.h"

namespace seer::cli {
namespace {

const std::vector<std::pair<std::string, std::string>> kShown = {
    {"", ""},
    {"plain\n\ttext", "plain\n\ttext"},
    {"\x1b]0;title\a", "^[]0;title^G"},
    {"\x1b[2J\r\b\x7f", "^[[2J^M^H^?"},
    {std::string("a\0b", 3), "a^@b"},
    {"\xc2\x9b"
     "1m \xc2\x80 \xc2\x9f",
     "\\x9b1m \\x80 \\x9f"},
    {"\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9", "\\u202a\\u202e\\u2066\\u2069"},
    {"a\xe2\x80\xa8"
     "b\xe2\x80\xa9 \xe2\x80\xa7\xe2\x80\xaf",
     "a\\u2028b\\u2029 \xe2\x80\xa7\xe2\x80\xaf"},
    {"\xf3\xa0\x80\x80\xf3\xa0\x81\x81\xf3\xa0\x81\xbf \xf3\xa0\x82\x80",
     "\\U000e0000\\U000e0041\\U000e007f \xf3\xa0\x82\x80"},
    {"\xe2\x80\x8f\xd7\xa9", "\xe2\x80\x8f\xd7\xa9"},  // the mark reorders only itself
    {"\x9b"
     "1m",
     "\\x9b1m"},
    {"\xc0\x9b \xe0\x82\x9b \xed\xa0\x80 \xf4\x90\x80\x80 \xff",
     "\\xc0\\x9b \\xe0\\x82\\x9b \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xff"},
    {"\xc2\x1b", "\\xc2^["},
    {"end \xe2\x82", "end \\xe2\\x82"},
};

TEST_CASE("control characters are shown and not sent, and other text stays as it is") {
  for (const auto& [text, shown] : kShown) CHECK(visible(text) == shown);
}

TEST_CASE("text in pieces of any size is shown as it is whole") {
  for (const auto& [text, shown] : kShown)
    for (size_t size = 1; size <= 4; ++size) {
      TerminalFilter filter;
      std::string out;
      for (size_t at = 0; at < text.size(); at += size) out += filter.push(text.substr(at, size));
      CHECK(out + filter.finish() == shown);
    }
}

TEST_CASE("a character is held back until all of it has come") {
  TerminalFilter filter;
  CHECK(filter.push("a\xe2\x82") == "a");
  CHECK(filter.push("\xac") == "\xe2\x82\xac");
  CHECK(filter.push("\xc2").empty());
  CHECK(filter.push("\x9b") == "\\x9b");
  CHECK(filter.finish().empty());
}

TEST_CASE("a log's line is one line, and of a very long text the middle is left out") {
  CHECK(one_line("a\nb\tc\x1b") == "a b c^[");
  CHECK(one_line("a\xe2\x80\xa8"
                 "b\xe2\x80\xae"
                 "c") == "a\\u2028b\\u202ec");
  const std::string longest(kLongestLine, 'x');
  CHECK(one_line(longest) == longest);
  const std::string line = one_line("begin " + std::string(100'000, 'x') + " end");
  CHECK(line.size() < kLongestLine + 100);
  CHECK(line.starts_with("begin x"));
  CHECK(line.ends_with("x end"));
  CHECK_THAT(line, ContainsSubstring(" ... (97962 bytes left out) ... "));
}

}  // namespace
}  // namespace seer::cli
