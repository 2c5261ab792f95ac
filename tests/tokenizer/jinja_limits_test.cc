// Templates of strangers end, and the error says why.
#include "tests/support/catch.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

using testing::render;
using testing::render_error;

std::string repeated(const std::string& text, int n) {
  std::string result;
  for (int i = 0; i < n; ++i) result += text;
  return result;
}

const std::string kNamespace = "{% set ns = namespace(x='ab', l=[1, 2]) %}";

TEST_CASE("loops within loops end at the limit of steps") {
  CHECK_THAT(render_error("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
             ContainsSubstring("unsupported: t: the template needs more than the 20000000 steps"));
}

TEST_CASE("texts end at the limit of bytes") {
  for (const char* source :
       {"{{ 'a' * 10**9 }}", "{{ 'a' | center(10**12) }}", "{{ 'a\nb' | indent(10**10) }}",
        "{{ '%100000000d' | format(1) }}", "{{ '{:>999999999}'.format('a') }}", "{{ '1'.zfill(10**15) }}",
        "{% set x = 'a' * 10**6 %}{{ x.replace('a', 'b' * 1000) }}", "{{ [1] * 10**9 }}",
        "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}"}) {
    INFO(source);
    CHECK_THAT(render_error(source), ContainsSubstring("more than the 16777216 bytes that are allowed"));
  }
  CHECK_THAT(render_error(kNamespace + "{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
             ContainsSubstring("bytes that are allowed"));
}

TEST_CASE("values that are alive at one time end at the limit of memory") {
  jinja::RenderOptions options;
  options.limits.max_live_bytes = 1 << 20;
  const auto t = jinja::Template::parse("{% set x = range(99999) | map('string') | list %}", "t");
  CHECK_THAT(testing::error_of([&] { t.render({}, {}, options); }),
             ContainsSubstring("more than the 1048576 bytes of memory"));
  // Values that were dropped do not count.
  const auto fine =
      jinja::Template::parse("{% for i in range(50000) %}{% set x = 'a' * 100 %}{% endfor %}", "t");
  CHECK(fine.render({}, {}, options).text.empty());
}

TEST_CASE("nesting ends at the limit of depth") {
  CHECK_THAT(render_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
             ContainsSubstring("more than 200 calls of macros"));
  CHECK_THAT(render_error(kNamespace + "{% for i in range(999) %}{% set ns.l = [ns.l] %}{% endfor %}"),
             ContainsSubstring("200 deep"));
  CHECK_THAT(
      render_error(kNamespace + "{% for i in range(999) %}{% set ns.l = ns.l | map('string') %}{% endfor %}"),
      ContainsSubstring("200 deep"));
  CHECK_THAT(render_error("{% macro m() %}" + repeated("{% for i in [1] %}", 100) + "{{ [[[[m()]]]] }}" +
                          repeated("{% endfor %}", 100) + "{% endmacro %}{{ m() }}"),
             ContainsSubstring("operations and statements within one another"));
  CHECK_THAT(render_error(kNamespace + "{% set ns.s = ns %}{{ ns }}"), ContainsSubstring("holds itself"));
}

TEST_CASE("sources that are nested too deep or too large are refused before anything is rendered") {
  for (const std::string& source :
       {"{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}", "{{ " + repeated("-", 5000) + "1 }}",
        "{{ " + repeated("not ", 5000) + "1 }}", "{{ 1" + repeated("+1", 5000) + " }}",
        "{{ a" + repeated(".b", 5000) + " }}", "{{ 1" + repeated("|abs", 5000) + " }}",
        repeated("{% if a %}", 5000), repeated("{% for a in b %}", 5000)}) {
    INFO(source.substr(0, 30));
    CHECK_THAT(testing::error_of([&] { jinja::Template::parse(source, "t"); }),
               ContainsSubstring("unsupported: t:1: "));
  }
  CHECK_THAT(testing::error_of([] { jinja::Template::parse(std::string(600000, 'a'), "t"); }),
             ContainsSubstring("more than 524288 bytes"));
}

TEST_CASE("a long conversation stays far within the limits") {
  testing::OrderedValue messages = testing::OrderedValue::array();
  for (int i = 0; i < 200; ++i)
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(10000, 'x')}});
  const std::string text = render(
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% "
      "endfor %}",
      {{"messages", messages}});
  CHECK(text.size() > 2'000'000);
}

}  // namespace
}  // namespace seer
