// The texts that templates render, by behaviour. Every expected text is jinja2's.
#include "tests/support/catch.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

using testing::OrderedValue;
using testing::render;

TEST_CASE("white space around tags goes as trim_blocks, lstrip_blocks and the signs ask for") {
  CHECK(render("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc");
  CHECK(render("a  {{ 1 }}\n  b") == "a  1\n  b");
  CHECK(render("a \n {%- if true -%} \n b {%- endif %} c") == "ab c");
  CHECK(render("  {%+ if true +%}\nb{% endif %}") == "  \nb");
  CHECK(render("a\n  {# c #}\nb {#- d -#} \n e") == "a\nbe");
  CHECK(render("{% raw %}{{ x }}{% endraw %}|{%- raw -%} a {%- endraw -%} b") == "{{ x }}|ab");
  CHECK(render("a\r\nb\rc\n") == "a\nb\nc");
  CHECK(render("{{ '{{' }}{{ '%}' }}{ { }") == "{{%}{ { }");
}

TEST_CASE("loops have jinja2's special variable") {
  const OrderedValue xs{{"xs", {"a", "b", "c"}}};
  CHECK(render("{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
               "{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }} {% "
               "endfor %}",
               xs) == "1032TrueFalse3b 2121FalseFalse3ac 3210FalseTrue3b ");
  CHECK(render("{% for x in xs %}{{ loop.cycle('o', 'e') }}{{ loop.changed(x == 'a') }}{% endfor %}", xs) ==
        "oTrueeTrueoFalse");
  CHECK(render("{% for x in xs if x != 'b' %}{{ loop.index }}{{ x }}{% endfor %}", xs) == "1a2c");
  CHECK(render("{% for x in [] %}{% else %}none{% endfor %}") == "none");
  CHECK(render("{% for x in xs %}{% if x == 'b' %}{% continue %}{% endif %}{{ x }}{% endfor %}", xs) == "ac");
  CHECK(render("{% for x in xs %}{% if x == 'b' %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}",
               xs) == "a");
  CHECK(render("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}") == "a1b2");
  CHECK(render("{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
               xs) == "1231 1232 1233 ");
}

TEST_CASE("an attribute without a name is a key like another") {
  CHECK(render("{{ [{'a': 1}] | map(attribute='') | list }}") == "[Undefined]");
  CHECK(render("{{ [{'': {'a': 5}}] | map(attribute='.a') | list }}") == "[5]");
  CHECK(render("{{ [{'a': {'': 7}}] | map(attribute='a.') | list }}") == "[7]");
  CHECK(render("{{ {'': 3} | attr('') }}").empty());
  CHECK(render("{{ {'': 3}[''] }}") == "3");
  CHECK(testing::render_error("{{ [{'a': 1}] | map(attribute='..') | list }}") ==
        "unsupported: t:1: 'dict object' has no attribute ''");
}

TEST_CASE("else of a loop runs unless the body came to its end once") {
  CHECK(render("{% for x in [1] %}{% continue %}{% else %}e{% endfor %}") == "e");
  CHECK(render("{% for x in [1] %}{% break %}{% else %}e{% endfor %}") == "e");
}

TEST_CASE("a loop's filter is asked when the next item is wanted") {
  CHECK(render("{% set ns = namespace(go=true) %}{% for x in [1, 2, 3] if ns.go %}{{ x }}"
               "{% set ns.go = false %}{% endfor %}") == "1");
}

TEST_CASE("assignments within a block stay there, namespaces carry them out") {
  CHECK(render("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}") ==
        "15151");
  CHECK(render("{% if true %}{% set x = 1 %}{% endif %}{{ x }}") == "1");
  CHECK(render("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ "
               "ns.n }}") == "3");
  CHECK(render("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}") == "3");
  CHECK(render("{% set a, b = 1, 2 %}{{ b }}{{ a }}{% set x %}<{{ a }}>{% endset %}{{ x }}") == "21<1>");
  CHECK(render("{% set x | upper | replace('A', 'b') %}a{% endset %}{{ x }}") == "b");
}

TEST_CASE("a variable that an inner block does not set before it is used comes from outside") {
  const OrderedValue x{{"x", "ctx"}};
  CHECK(render("{% for i in [1] %}{{ x }}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}", x) == "ctx2ctx");
  CHECK(render("{% for i in [1] %}{% for j in [1] %}{{ x }}{% endfor %}{% set x = 1 %}{% endfor %}", x)
            .empty());
  CHECK(render("{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% set x = 'set' %}{{ m() }}", x) == "set");
}

TEST_CASE("macros take defaults, names, varargs, kwargs and a caller") {
  CHECK(render("{% macro m(a, b=a ~ '!') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) "
               "}}") == "11!1243");
  CHECK(render("{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, *[2], a=3, **{'b': 4}) }}") ==
        "(1, 2){'a': 3, 'b': 4}");
  CHECK(render("{% macro m(x) %}[{{ caller(x) }}]{% endmacro %}{% call(y) m('p') %}{{ y }}{% endcall %}") ==
        "[p]");
  CHECK(render("{% macro m(x) %}{{ x }}{% if x > 0 %}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}") ==
        "3210");
  CHECK(render("{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m }}") == "False<Macro 'm'>");
  CHECK(render("{% generation %}a{{ 1 }}{% endgeneration %}b") == "a1b");
}

TEST_CASE("operators have Python's precedence and results") {
  CHECK(render("{{ 1 + 2 * 3 ** 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 7.5 // 2 }}") ==
        "19 -4 2 3.5 0.5 3.0");
  CHECK(render("{{ -2 ** 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ not 1 == 2 }} {{ 1 in [1] }} {{ 2 not in "
               "[1] }}") == "4 True False True True True");
  CHECK(render("{{ 'a' ~ 1 * 2 }}|{{ none or 'x' }}|{{ [] and 1 }}|{{ 'y' if false }}|{{ 1 if 0 else 2 if 0 "
               "else 3 }}") == "a2|x|[]||3");
}

TEST_CASE("numbers are written as Python writes them") {
  CHECK(render("{{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1/3 }} {{ 1e22 }} {{ -0.0 }} "
               "{{ 1_000 }} "
               "{{ 0x1F }} {{ true + 1 }}") ==
        "1.0 1e+16 1000000000000000.0 0.0001 1e-05 0.3333333333333333 1e+22 -0.0 1000 31 2");
  CHECK(render("{{ 2.5 | round }} {{ 2.675 | round(2) }} {{ 1234 | round(-2) }} {{ 2.1 | round(0, 'ceil') }} "
               "{{ '42.7' | int }} {{ 'x' | int(3) }} {{ '1e3' | float }}") ==
        "2.0 2.67 1200 3.0 42 3 1000.0");
}

TEST_CASE("values are written as Python writes them") {
  CHECK(render("{{ [1, 'a', none, true, 1.5, (1,), {'k': \"it's\"}, []] }}") ==
        "[1, 'a', None, True, 1.5, (1,), {'k': \"it's\"}, []]");
  CHECK(render("{{ ['\\n\\x01é\\u200b\\\\'] }}{{ {'a': 1}.items() }}{{ range(3) }}{{ [x] }}") ==
        "['\\n\\x01é\\u200b\\\\']dict_items([('a', 1)])range(0, 3)[Undefined]");
}

TEST_CASE("strings are sequences of characters") {
  const OrderedValue s{{"s", "aé日😀"}};
  CHECK(render("{{ s | length }}{{ s[1] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ s[::2] }}{{ s.find('😀') }}",
               s) == "4é😀é日😀日éaa日3");
  CHECK(render("{% for c in s %}{{ c }},{% endfor %}{{ s | list }}", s) == "a,é,日,😀,['a', 'é', '日', '😀']");
  CHECK(render("{{ 'straße'.upper() }}{{ 'ΑΣ ΣΑ'.lower() }}{{ 'ǆ'.title() }}{{ 'İ'.lower() | length }}") ==
        "STRASSEας σαǅ2");
  CHECK(render("{{ '\\u00a0a\\u2003'.strip() }}{{ 'a\\x1cb'.splitlines() }}{{ ' a  b '.split() }}") ==
        "a['a', 'b']['a', 'b']");
  CHECK(render("{{ 'a,b,c'.rsplit(',', 1) }}{{ 'abc'.partition('b') }}{{ 'x'.join('ab') }}{{ "
               "'aXb'.swapcase() }}") == "['a,b', 'c']('a', 'b', 'c')axbAxB");
}

TEST_CASE("a dict's methods hide keys of their names after a dot, and not in brackets") {
  const OrderedValue d{{"d", {{"items", 1}, {"x", 2}}}};
  CHECK(render(
            "{{ d['items'] }}{{ d.x }}{{ d.get('y', 3) }}{{ d.y is defined }}{{ d.items() | list | length }}",
            d) == "123False2");
}

TEST_CASE("undefined values print nothing, are false, empty and equal") {
  CHECK(render("{{ x }}{{ x is defined }}{{ x | length }}{{ x | default('d') }}{{ [] | first is undefined }}"
               "{{ '' | default('e', true) }}{{ x == y }}{{ 'a' in x }}{% for i in x %}{% endfor %}") ==
        "False0dTrueeTrueFalse");
}

TEST_CASE("filters of sequences") {
  CHECK(render("{{ ['b', 'A', 'c'] | sort }}{{ [1, 3, 2] | sort(reverse=true) }}{{ ['a', 'A'] | unique | "
               "list }}") == "['A', 'b', 'c'][3, 2, 1]['a']");
  CHECK(render("{{ {'b': 1, 'a': 2} | dictsort }}{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }}"
               "{{ range(5) | slice(2) | list }}") ==
        "[('a', 2), ('b', 1)][[1, 2], [3, 4], [5, 0]][[0, 1, 2], [3, 4]]");
  const OrderedValue ms{{"ms", {{{"r", "u"}, {"n", 1}}, {{"r", "a"}, {"n", 2}}, {{"r", "u"}, {"n", 3}}}}};
  CHECK(render("{{ ms | selectattr('r', 'equalto', 'u') | map(attribute='n') | list }}"
               "{{ ms | rejectattr('n', 'odd') | list | length }}{{ ms | sum(attribute='n') }}"
               "{{ ms | groupby('r') | map('first') | list }}{{ (ms | max(attribute='n')).r }}",
               ms) == "[1, 3]16['a', 'u']u");
  CHECK(render("{% set g = [1, 2] | map('string') %}{{ g | list }}{{ g | list }}") == "['1', '2'][]");
}

TEST_CASE("tojson is json.dumps") {
  const OrderedValue d{{"d", {{"b", {1, 2.0, nullptr, true}}, {"a", "é\"\n"}, {"e", OrderedValue::array()}}}};
  CHECK(render("{{ d | tojson }}", d) == "{\"b\": [1, 2.0, null, true], \"a\": \"é\\\"\\n\", \"e\": []}");
  CHECK(render("{{ d | tojson(indent=1, sort_keys=true, ensure_ascii=true) }}", d) ==
        "{\n \"a\": \"\\u00e9\\\"\\n\",\n \"b\": [\n  1,\n  2.0,\n  null,\n  true\n ],\n \"e\": []\n}");
  CHECK(render("{{ {1: 2, none: 3} | tojson(separators=(',', ':')) }}") == "{\"1\":2,\"null\":3}");
}

TEST_CASE("what is added to a safe string is escaped, and ~ makes it plain") {
  CHECK(render("{{ ('<' | safe) + '<' }}{{ ('<' | safe) ~ '<' }}{{ '<b>' | e }}") == "<&lt;<<&lt;b&gt;");
}

TEST_CASE("strftime_now writes the local time in the C locale") {
  jinja::RenderOptions options;
  options.now = 1795824000;  // noon of 2026-11-27 or 28, whatever the time zone
  const auto t = jinja::Template::parse("{{ strftime_now('%Y-%m %B %b %% é') }}", "t");
  CHECK(t.render({}, {}, options).text == "2026-11 November Nov % é");
}

TEST_CASE("one template renders the same from several calls") {
  const auto t =
      jinja::Template::parse("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ x }}", "t");
  for (int i = 0; i < 3; ++i) CHECK(t.render({}, {{"x", i}}).text == "1" + std::to_string(i));
}

}  // namespace
}  // namespace seer
