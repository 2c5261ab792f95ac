// Refusals of templates, for forbidden constructs and for those that this interpreter lacks. The message
// names them, with the line.
#include "tests/support/catch.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

using testing::render_error;

std::string parse_error(const std::string& source) {
  return testing::error_of([&] { jinja::Template::parse(source, "chat.jinja"); });
}

TEST_CASE("statements, filters and names that are not built are refused when the template is parsed") {
  CHECK(parse_error("\n{% include 'x' %}") ==
        "unsupported: chat.jinja:2: the statement 'include', which is not supported");
  for (const char* source : {"{% extends 'x' %}", "{% block a %}{% endblock %}", "{% import 'x' as y %}",
                             "{% from 'x' import y %}", "{% autoescape true %}{% endautoescape %}",
                             "{% for a in b recursive %}{% endfor %}", "{{ a | random }}", "{{ a | pprint }}",
                             "{% if false %}{{ a | urlize }}{% endif %}", "{{ lipsum() }}", "{{ self.x() }}",
                             "{{ 'a'.encode('utf-8') }}", "{{ '\\N{BULLET}' }}", "{{ '\\ud800' }}",
                             "{{ 99999999999999999999 }}"}) {
    INFO(source);
    CHECK_THAT(parse_error(source), ContainsSubstring("unsupported: chat.jinja:1: "));
  }
}

TEST_CASE("malformed templates are errors of the file, with the line") {
  CHECK(parse_error("a\n{{ 1 +") == "file: chat.jinja:2: unexpected 'end of template'");
  for (const char* source : {"{% if a %}",
                             "{% for a in %}{% endfor %}",
                             "{% nonsense %}",
                             "{% endif %}",
                             "{{ a",
                             "{# a",
                             "{% raw %}",
                             "{{ 'a }}",
                             "{{ (1] }}",
                             "{{ a | nonsense }}",
                             "{{ a is nonsense }}",
                             "{% set 1 = 2 %}",
                             "{% break %}",
                             "{% macro m(a, a) %}{% endmacro %}",
                             "{{ f(a=1, a=2) }}",
                             "{{ f(a=1, 2) }}",
                             "{{ a ! b }}",
                             "{% for loop in a %}{{ loop }}{% endfor %}",
                             "{{ a is string is string }}",
                             "{{ '\\x1' }}",
                             "{% for a in b %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
                             "{{ }}",
                             "{% set a %}"}) {
    INFO(source);
    CHECK_THAT(parse_error(source), ContainsSubstring("file: chat.jinja:1: "));
  }
}

TEST_CASE("an unknown filter within a branch is an error only when it is used") {
  CHECK(testing::render("{% if false %}{{ a | nonsense }}{% endif %}b") == "b");
  CHECK_THAT(render_error("{% if true %}{{ a | nonsense }}{% endif %}"),
             ContainsSubstring("No filter named 'nonsense' found."));
}

std::string repeat(const std::string& text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

TEST_CASE("raise_exception gives the template's words and nothing else") {
  CHECK_THROWS_AS(testing::render("{{ raise_exception('roles must alternate') }}"), jinja::RaisedError);
  CHECK(render_error("{{ raise_exception('roles must alternate') }}") == "unsupported: roles must alternate");
  CHECK(render_error("\n{{ raise_exception('') }}") ==
        "unsupported: t:2: the template refuses the messages without a word");
  CHECK(render_error("{{ raise_exception('a' + '\u00e9' * 100000) }}") ==
        "unsupported: a" + repeat("\xC3\xA9", 499) + "... (200001 bytes)");
}

TEST_CASE("the sandbox lets nothing be changed and no internals be used") {
  const testing::OrderedValue messages{{"d", {{"a", 1}}}, {"xs", {1, 2}}};
  for (const char* source : {"{{ xs.append(1) }}", "{{ xs.pop() }}", "{{ xs.sort() }}", "{{ d.update({}) }}",
                             "{{ d.pop('a') }}", "{{ d.__class__.x }}", "{{ ''['__class__']() }}"}) {
    INFO(source);
    CHECK_THAT(render_error(source, messages), ContainsSubstring("is unsafe"));
  }
  CHECK_THAT(render_error("{% set d.a = 2 %}", messages), ContainsSubstring("non-namespace"));
  CHECK_THAT(render_error("{% set n = namespace() %}{% set n._a = 1 %}"), ContainsSubstring("underscore"));
}

TEST_CASE("sources and values that are not UTF-8 are refused: the interpreter reads whole characters") {
  for (const char* text : {"\xF8", "\xFF", "\xC3", "\xE2\x96", "\xED\xA0\x80", "\xC0\x80"}) {
    const std::string bytes = text;
    INFO(bytes.size());
    for (const std::string& source : {"x\n{{ name" + bytes, "x\n" + bytes, "x\n{{ '" + bytes + "' }}"})
      CHECK_THAT(render_error(source), ContainsSubstring("file: t:2: expected UTF-8, found the byte 0x"));
    for (const testing::OrderedValue& message :
         {testing::OrderedValue{{"x", bytes}}, testing::OrderedValue{{"x", {"a", {{"b" + bytes, 1}}}}}})
      CHECK_THAT(
          render_error("{{ x }}", message),
          ContainsSubstring("usage: the messages have text of another encoding: expected UTF-8, found"));
  }
}

TEST_CASE("errors of rendering name the line") {
  CHECK(render_error("a\n{{ x.y }}") == "unsupported: t:2: 'x' is undefined");
  CHECK(render_error("{{ {}.a.b }}") == "unsupported: t:1: 'dict object' has no attribute 'a'");
  CHECK(render_error("\n\n{{ 'a' + 1 }}") ==
        "unsupported: t:3: unsupported operand type(s) for +: 'str' and 'int'");
  for (const char* source :
       {"{{ 1 / 0 }}", "{{ [] < 1 }}", "{% for a in 1 %}{% endfor %}", "{{ none() }}", "{% set a, b = [1] %}",
        "{{ 'a' in 1 }}", "{{ {[]: 1} }}", "{{ 1 | length }}", "{{ x | tojson }}", "{{ range(10**6) }}",
        "{{ 9223372036854775807 + 1 }}", "{{ messages.items }}", "{{ [1] | map('upper') }}",
        "{{ 'a'.index('b') }}", "{{ '%d' | format('x') }}", "{{ '{'.format() }}", "{{ [3, 'a'] | sort }}",
        "{{ strftime_now('%Q') }}"}) {
    INFO(source);
    CHECK_THAT(render_error(source, {{"messages", testing::OrderedValue::object()}}),
               ContainsSubstring("unsupported: t:1: "));
  }
}

}  // namespace
}  // namespace seer
