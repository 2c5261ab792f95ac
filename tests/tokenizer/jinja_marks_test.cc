// The bytes of a rendered text that messages wrote.
#include "tests/support/catch.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

using testing::OrderedJson;

// Returns the text with the messages' parts in «».
std::string marked(const std::string& source) {
  const OrderedJson messages{{"s", "ab cd"},     {"e", "é<b>"},       {"n", 42},
                             {"xs", {"x", "y"}}, {"d", {{"k", "v"}}}, {"pad", "  p  "}};
  const OrderedJson files{{"bos", "<s>"}};
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
  CHECK(marked("<a>{{ bos }}{{ 'lit' }}{{ n }}{{ n + 1 }}{{ true }}") == "<a><s>lit4243True");
  CHECK(marked("{{ s }}") == "«ab cd»");
  CHECK(marked("{{ s | length }}{{ s == 'ab cd' }}") == "5True");
}

TEST_CASE("concatenation keeps every byte's origin") {
  CHECK(marked("{{ '[' + s + ']' }}{{ '(' ~ n ~ s ~ ')' }}") == "[«ab cd»](42«ab cd»)");
  CHECK(marked("{{ s ~ s }}") == "«ab cdab cd»");
  CHECK(marked("{{ s * 2 }}{{ 'a' * 2 }}") == "«ab cdab cd»aa");
  CHECK(marked("{% set x %}<{{ s }}>{% endset %}{{ x }}") == "<«ab cd»>");
  CHECK(marked("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(s) }}{{ m('t') }}") == "<«ab cd»><t>");
}

TEST_CASE("operations on strings keep every byte's origin") {
  CHECK(marked("{{ ('<' ~ s ~ '>')[:3] }}|{{ ('<' ~ s ~ '>')[-3:] }}|{{ ('<' ~ e)[::-1] }}") ==
        "<«ab»|«cd»>|«>b<é»<");
  CHECK(marked("{{ ('<' ~ pad ~ '>').strip('<> ') }}{{ pad | trim }}") == "«pp»");
  CHECK(marked("{{ ('<' ~ s).split(' ') | join('+') }}") == "<«ab»+«cd»");
  CHECK(marked("{{ s.replace(' ', '_') }}{{ 'a-b'.replace('-', s) }}") == "«ab»_«cd»a«ab cd»b");
  CHECK(marked("{{ pad.replace(' ', '_') }}{{ pad.split(' ') | join('+') }}") ==
        "__«p»__++«p»++");  // cuts of nothing
  CHECK(marked("{{ ('x' ~ s) | upper }}{{ ('x' ~ s) | title }}") == "X«AB CD»X«ab Cd»");
  CHECK(marked("{{ xs | join(',') }}") == "«x»,«y»");
  CHECK(marked("{{ ('a\n' ~ s) | indent(2) }}") == "a\n  «ab cd»");
  CHECK(marked("{{ '<%s|%5s>' | format(s, n) }}{{ '<{}:>{:>7}'.format(n, s) }}") ==
        "<«ab cd»|   42><42:>  «ab cd»");
  CHECK(marked("{{ e | escape }}") == "«é&lt;b&gt;»");
  CHECK(marked("{% filter trim %} {{ s }}! {% endfilter %}") == "«ab cd»!");
}

TEST_CASE("JSON and repr give the template the punctuation and messages the strings") {
  CHECK(marked("{{ d | tojson }}") == "{\"«k»\": \"«v»\"}");
  CHECK(marked("{{ {'k': s, 'n': n} | tojson(indent=1) }}") == "{\n \"k\": \"«ab cd»\",\n \"n\": 42\n}");
  CHECK(marked("{{ (s ~ '\n') | tojson }}{{ e | tojson(true) }}") == "\"«ab cd»\\n\"\"«\\u00e9<b>»\"");
  CHECK(marked("{{ xs }}{{ d }}{{ [s ~ '\n'] }}") == "['«x»', '«y»']{'«k»': '«v»'}['«ab cd»\\n']");
}

TEST_CASE("a message cannot pass for the template by being compared or used as a key") {
  CHECK(marked("{% set m = {'k': 'own'} %}{% for k in d %}{{ m[k] }}{{ k }}{% endfor %}") == "own«k»");
  CHECK(marked("{{ ([s] + ['ab cd']) | unique | join }}") == "«ab cd»");
}

}  // namespace
}  // namespace seer
