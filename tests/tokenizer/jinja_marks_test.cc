// The bytes of a rendered text that messages wrote.
#include "tests/support/catch.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

using testing::OrderedValue;

// Returns the text with the messages' parts in «».
std::string shown(const std::string& source) {
  const OrderedValue messages{{"s", "ab cd"},     {"e", "é<b>"},       {"n", 42},
                              {"xs", {"x", "y"}}, {"d", {{"k", "v"}}}, {"pad", "  p  "}};
  const OrderedValue files{{"bos", "<s>"}};
  const MarkedText text = jinja::Template::parse(source, "t").render(files, messages);
  std::string result;
  size_t at = 0;
  for (const auto& [begin, end] : text.from_messages) {
    CHECK(begin < end);
    CHECK((at == 0 || begin > at));  // the parts are in order and apart
    result += text.text.substr(at, begin - at) + "«" + text.text.substr(begin, end - begin) + "»";
    at = end;
  }
  return result + text.text.substr(at);
}

TEST_CASE("the template's text, files' strings and numbers are not messages'") {
  CHECK(shown("<a>{{ bos }}{{ 'lit' }}{{ n }}{{ n + 1 }}{{ true }}") == "<a><s>lit4243True");
  CHECK(shown("{{ s }}") == "«ab cd»");
  CHECK(shown("{{ s | length }}{{ s == 'ab cd' }}") == "5True");
}

TEST_CASE("concatenation keeps every byte's origin") {
  CHECK(shown("{{ '[' + s + ']' }}{{ '(' ~ n ~ s ~ ')' }}") == "[«ab cd»](42«ab cd»)");
  CHECK(shown("{{ s ~ s }}") == "«ab cdab cd»");
  CHECK(shown("{{ s * 2 }}{{ 'a' * 2 }}") == "«ab cdab cd»aa");
  CHECK(shown("{% set x %}<{{ s }}>{% endset %}{{ x }}") == "<«ab cd»>");
  CHECK(shown("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(s) }}{{ m('t') }}") == "<«ab cd»><t>");
}

TEST_CASE("operations on strings keep every byte's origin") {
  CHECK(shown("{{ ('<' ~ s ~ '>')[:3] }}|{{ ('<' ~ s ~ '>')[-3:] }}|{{ ('<' ~ e)[::-1] }}") ==
        "<«ab»|«cd»>|«>b<é»<");
  CHECK(shown("{{ ('<' ~ pad ~ '>').strip('<> ') }}{{ pad | trim }}") == "«pp»");
  CHECK(shown("{{ ('<' ~ s).split(' ') | join('+') }}") == "<«ab»+«cd»");
  CHECK(shown("{{ s.replace(' ', '_') }}{{ 'a-b'.replace('-', s) }}") == "«ab»_«cd»a«ab cd»b");
  CHECK(shown("{{ pad.replace(' ', '_') }}{{ pad.split(' ') | join('+') }}") ==
        "__«p»__++«p»++");  // cuts of nothing
  CHECK(shown("{{ ('x' ~ s) | upper }}{{ ('x' ~ s) | title }}") == "X«AB CD»X«ab Cd»");
  CHECK(shown("{{ xs | join(',') }}") == "«x»,«y»");
  CHECK(shown("{{ ('a\n' ~ s) | indent(2) }}") == "a\n  «ab cd»");
  CHECK(shown("{{ '<%s|%5s>' | format(s, n) }}{{ '<{}:>{:>7}'.format(n, s) }}") ==
        "<«ab cd»|   42><42:>  «ab cd»");
  CHECK(shown("{{ e | escape }}") == "«é&lt;b&gt;»");
  CHECK(shown("{% filter trim %} {{ s }}! {% endfilter %}") == "«ab cd»!");
}

TEST_CASE("JSON and repr give the template the punctuation and messages the strings") {
  CHECK(shown("{{ d | tojson }}") == "{\"«k»\": \"«v»\"}");
  CHECK(shown("{{ {'k': s, 'n': n} | tojson(indent=1) }}") == "{\n \"k\": \"«ab cd»\",\n \"n\": 42\n}");
  CHECK(shown("{{ (s ~ '\n') | tojson }}{{ e | tojson(true) }}") == "\"«ab cd»\\n\"\"«\\u00e9<b>»\"");
  CHECK(shown("{{ xs }}{{ d }}{{ [s ~ '\n'] }}") == "['«x»', '«y»']{'«k»': '«v»'}['«ab cd»\\n']");
}

TEST_CASE("a message cannot pass for the template by being compared or used as a key") {
  CHECK(shown("{% set m = {'k': 'own'} %}{% for k in d %}{{ m[k] }}{{ k }}{% endfor %}") == "own«k»");
  CHECK(shown("{{ ([s] + ['ab cd']) | unique | join }}") == "«ab cd»");
}

}  // namespace
}  // namespace seer
