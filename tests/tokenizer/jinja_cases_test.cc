// Chat templates of published models against transformers' jinja2.
#include <map>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/jinja_helpers.h"

namespace seer {
namespace {

testing::OrderedValue variables_of(const testing::OrderedValue& c) {
  testing::OrderedValue variables{{"messages", c["messages"]},
                                  {"tools", c.contains("tools") ? c["tools"] : testing::OrderedValue()},
                                  {"documents", nullptr},
                                  {"add_generation_prompt", false}};
  variables.update(c["kwargs"]);
  return variables;
}

TEST_CASE("templates of published models are rendered character for character") {
  const auto folder = testing::test_data("templates");
  if (!folder) return;
  const auto cases = testing::OrderedValue::parse(testing::read_file(*folder / "cases.json"));
  CHECK(cases.size() >= 200);
  for (const testing::OrderedValue& c : cases) {
    const std::string name = c["template"].get<std::string>();
    INFO(name << ": " << c["name"]);
    const std::string source = testing::read_file(*folder / (name + ".jinja"));
    testing::OrderedValue files{{"eos_token", c["eos_token"]}};
    if (c.contains("bos_token") && !c["bos_token"].is_null()) files["bos_token"] = c["bos_token"];
    jinja::RenderOptions options;
    options.now = 1795856703;  // 2026-11-28 09:05:03 UTC
    std::string text, error;
    bool raised = false;
    try {
      text = jinja::Template::parse(source, name).render(files, variables_of(c), options).text;
    } catch (const jinja::RaisedError& e) {
      raised = true;
      error = e.what();
    } catch (const Error& e) {
      error = e.what();
    }
    if (c.contains("expected")) {
      CHECK(error.empty());
      CHECK(text == c["expected"].get<std::string>());
    } else {
      const std::string expected = c["error"].get<std::string>(), kind = "TemplateError: ";
      CHECK_FALSE(error.empty());
      if (expected.rfind(kind, 0) == 0) {
        CHECK(raised);
        CHECK(error == expected.substr(kind.size()));
      }
    }
  }
}

TEST_CASE("a template says which variables it reads") {
  const auto reads = [](const char* source, const char* name) {
    return jinja::Template::parse(source, "t").refers_to(name);
  };
  CHECK(reads("{% if tools %}{{ tools | tojson }}{% endif %}", "tools"));
  CHECK(reads("{% macro m() %}{% for t in tools %}{% endfor %}{% endmacro %}", "tools"));
  CHECK(reads("{% if not tools is defined %}{% set tools = [] %}{% endif %}", "tools"));
  CHECK_FALSE(reads("{{ messages }} tools {# tools #} {{ 'tools' }} {{ a.tools }}", "tools"));
  CHECK_FALSE(reads("{% set tools = 1 %}{{ tools }}", "tools"));
  CHECK_FALSE(reads("{% macro m(tools) %}{{ tools }}{% endmacro %}", "tools"));
}

}  // namespace
}  // namespace seer
