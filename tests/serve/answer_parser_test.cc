// Calls and reasoning in answers, whole and cut at every place.
#include "tools/seer/serve/answers/answer_parser.h"

#include "tests/support/catch.h"

namespace seer::serve {
namespace {

using Kind = AnswerDelta::Kind;

struct Case {
  ToolForm form;
  std::string text;
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;  // name, arguments
};

ParsedAnswer parse(ToolForm form, const std::vector<std::string>& pieces, Thinking thinking) {
  AnswerParser parser(form, {"f", "get_weather"}, thinking);
  ParsedAnswer answer;
  const auto add = [&](const std::vector<AnswerDelta>& deltas) {
    for (const AnswerDelta& delta : deltas) {
      CHECK((delta.kind == Kind::kCallEnd || !delta.text.empty()));
      answer.add(delta);
    }
  };
  for (const std::string& piece : pieces) add(parser.push(piece));
  add(parser.finish());
  return answer;
}

// Returns the text whole, cut once at every place, and byte by byte.
std::vector<std::vector<std::string>> cuts(const std::string& text) {
  std::vector<std::vector<std::string>> all = {{text}, {}};
  for (const char c : text) all[1].emplace_back(1, c);
  for (size_t i = 1; i < text.size(); ++i) all.push_back({text.substr(0, i), text.substr(i)});
  return all;
}

void check(const Case& c) {
  for (const auto& pieces : cuts(c.text)) {
    const ParsedAnswer got = parse(c.form, pieces, Thinking::kNone);
    INFO(c.text << "\ncut after " << pieces.front());
    CHECK(got.content == c.content);
    CHECK(got.reasoning.empty());
    REQUIRE(got.calls.size() == c.calls.size());
    for (size_t i = 0; i < c.calls.size(); ++i) {
      CHECK(got.calls[i].name == c.calls[i].first);
      CHECK(got.calls[i].arguments == c.calls[i].second);
    }
  }
}

TEST_CASE("calls of Hermes and Qwen are found among text, cut anywhere") {
  const ToolForm form = ToolForm::kHermes;
  check({form,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
         "",
         {{"f", "{\"a\": 1}"}}});
  check({form,
         "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
         "{\"arguments\": {\"x\": [\"}\", {\"y\": null}]}, \"name\": \"get_weather\"}\n</tool_call>",
         "Let me see.",
         {{"f", "{}"}, {"get_weather", "{\"x\": [\"}\", {\"y\": null}]}"}}});
  check({form,
         R"(<tool_call>{"name":"f","arguments":"{\"a\": \"</tool_call>\"}"}</tool_call>)",
         "",
         {{"f", R"({"a": "</tool_call>"})"}}});
  check({form,
         R"(<tool_call>{"name":"f","arguments":{"a":"</tool_call>\u00e9\n"}})",
         "",
         {{"f", R"({"a":"</tool_call>\u00e9\n"})"}}});
  check({form, R"(<tool_call>{"name":"f"}</tool_call> Done.)", "Done.", {{"f", "{}"}}});
  check({form, R"(<tool_call>{"name":"f","arguments":null,"id":7}</tool_call>)", "", {{"f", "{}"}}});
  check({form,
         R"(<tool_call>{"name":"f","arguments":{"a":1}}} </tool_call>)",
         "} </tool_call>",
         {{"f", R"({"a":1})"}}});
}

TEST_CASE("what is no call stays text, nothing lost") {
  for (const std::string text :
       {"plain text", " < tool_call> <tool_cal", "a </tool_call> b\n", "<tool_call>\nf(1)\n</tool_call>",
        "<tool_call>{\"name\": \"f\"", "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": }}</tool_call> end",
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}</tool_call>",
        "x <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, 2",
        "<tool_call>{\"arguments\": {\"a\": 1}}</tool_call>", "<tool_call>{}</tool_call>",
        "<tool_call>[]</tool_call>", "<tool_call>{\"name\": 5, \"arguments\": {}}",
        "<tool_call>{\"name\": \"f\", \"arguments\": \"no JSON\"}</tool_call>", "\u00e9<tool_call>\u00e9"}) {
    check({ToolForm::kHermes, text, text, {}});
    check({ToolForm::kNone, text, text, {}});
  }
  check({ToolForm::kHermes,
         R"(<tool_call>{bad}</tool_call><tool_call>{"name":"f","arguments":{"a":1}}</tool_call>)",
         "<tool_call>{bad}</tool_call>",
         {{"f", R"({"a":1})"}}});
  check(
      {ToolForm::kHermes,
       R"(<tool_call>{"name":"f","arguments":{"a":x}}</tool_call><tool_call>{"name":"f","arguments":{"a":1}}</tool_call>)",
       R"(<tool_call>{"name":"f","arguments":{"a":x}}</tool_call>)",
       {{"f", R"({"a":1})"}}});
}

TEST_CASE("calls of Llama are an answer's whole text, or follow their mark") {
  const ToolForm form = ToolForm::kLlama3;
  check({form, R"({"name": "f", "parameters": {"a": "b"}})", "", {{"f", R"({"a": "b"})"}}});
  check({form,
         "\n<|python_tag|>"
         R"({"name": "f", "parameters": {"a": "b"}}; {"name":"get_weather","arguments":{}})",
         "",
         {{"f", R"({"a": "b"})"}, {"get_weather", "{}"}}});
  check({form,
         R"(I see. <|python_tag|>{"name": "other", "parameters": {"a": "b"}})",
         "I see.",
         {{"other", R"({"a": "b"})"}}});
  for (const std::string text :
       {R"({"name": "Bob", "parameters": {"age": 5}})", R"(The answer: {"name": "f", "parameters": {}})",
        "{\"a\": 1}", "<|python_tag|>brave_search.call(query=\"x\")",
        "{\"name\": \"f\", \"parameters\": {\"a\": 1", "; {", "<|python"})
    check({form, text, text, {}});
  check({form, R"({"name": "f", "parameters": {"a": 1}}; and more)", "; and more", {{"f", R"({"a": 1})"}}});
}

TEST_CASE("calls of Mistral come as an array, or by name") {
  const ToolForm form = ToolForm::kMistral;
  check({form,
         R"([TOOL_CALLS][{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}])",
         "",
         {{"f", R"({"a": 1})"}}});
  check({form,
         R"([TOOL_CALLS] [{"name": "f", "arguments": {"a": [1]}}, {"name": "get_weather", "arguments": {}}])",
         "",
         {{"f", R"({"a": [1]})"}, {"get_weather", "{}"}}});
  check({form,
         R"(So: [TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]get_weather[CALL_ID]x12345678[ARGS]{})",
         "So:",
         {{"f", R"({"a": 1})"}, {"get_weather", "{}"}}});
  check(
      {form, R"([TOOL_CALLS]f{"a": {"b": "[TOOL_CALLS]"}})", "", {{"f", R"({"a": {"b": "[TOOL_CALLS]"}})"}}});
  for (const std::string text :
       {"[TOOL_CALLS]", "[TOOL_CALLS][]", "[TOOL_CALLS][{\"name\": \"f\", \"argum", "[TOOL_CAL",
        "[TOOL_CALLS]I will call f.", "[ARGS]{}", "[TOOL_CALLS][ARGS]{}", "[TOOL_CALLS]f[ARGS]{\"a\": 1",
        "[TOOL_CALLS]f[ARGS]no", "[TOOL_CALLS]f[CALL_ID]+", "[1, 2]"})
    check({form, text, text, {}});
  check({form,
         R"([TOOL_CALLS]f[ARGS]{"a": x[TOOL_CALLS]f[ARGS]{"a": 1})",
         R"([TOOL_CALLS]f[ARGS]{"a": x)",
         {{"f", R"({"a": 1})"}}});
}

TEST_CASE("a call's arguments come as they are written, its name before them") {
  AnswerParser parser(ToolForm::kHermes, {"f"}, Thinking::kNone);
  CHECK(parser.push("Hm.\n<tool_call>\n{\"name\": \"f\", \"argu") ==
        std::vector<AnswerDelta>{{Kind::kContent, "Hm."}});
  CHECK(parser.push("ments\": {").empty());
  CHECK(parser.push("\"a\"") ==
        std::vector<AnswerDelta>{{Kind::kCallBegin, "f"}, {Kind::kCallArguments, "{\"a\""}});
  CHECK(parser.push(": \"x") == std::vector<AnswerDelta>{{Kind::kCallArguments, ": \"x"}});
  CHECK(parser.push("\"}} ") ==
        std::vector<AnswerDelta>{{Kind::kCallArguments, "\"}"}, {Kind::kCallEnd, ""}});
  CHECK(parser.push("</tool_call>\n<tool_call>{\"name\":\"f\",\"arguments\":{}}") ==
        std::vector<AnswerDelta>{
            {Kind::kCallBegin, "f", 1}, {Kind::kCallArguments, "{}", 1}, {Kind::kCallEnd, "", 1}});
  CHECK(parser.finish().empty());
}

TEST_CASE("a call that breaks off after it began is marked so in a stream") {
  AnswerParser parser(ToolForm::kHermes, {"f"}, Thinking::kNone);
  parser.push("<tool_call>{\"name\":\"f\",\"arguments\":{\"a");
  CHECK(parser.finish() ==
        std::vector<AnswerDelta>{{Kind::kCallBroken, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a"}});
}

void check_thinking(Thinking start, const std::string& text, const std::string& reasoning,
                    const std::string& content) {
  for (const auto& pieces : cuts(text)) {
    INFO(text << "\ncut after " << (pieces.empty() ? "" : pieces.front()));
    const ParsedAnswer got = parse(ToolForm::kHermes, pieces, start);
    CHECK(got.reasoning == reasoning);
    CHECK(got.content == content);
  }
}

TEST_CASE("reasoning is split off, cut anywhere") {
  check_thinking(Thinking::kMay, "<think>\nLet me\n\nthink.\n</think>\n\nYes. ", "Let me\n\nthink.", "Yes. ");
  check_thinking(Thinking::kMay, "\n<think>a</think>b <think>c</think>", "a", "b <think>c</think>");
  check_thinking(Thinking::kMay, "<think>\n\n</think>\n\nYes.", "", "Yes.");
  check_thinking(Thinking::kMay, " No <think>thought</think>", "", " No <think>thought</think>");
  check_thinking(Thinking::kMay, "<thin", "", "<thin");
  check_thinking(Thinking::kMay, "</think> x", "", "</think> x");
  check_thinking(Thinking::kMay, "<think>cut </thi", "cut </thi", "");
  check_thinking(Thinking::kInside, "a < b\n</think>\nb", "a < b", "b");
  check_thinking(Thinking::kInside, "<think>\na</think>b", "a", "b");
  check_thinking(Thinking::kInside, "never ends", "never ends", "");
  check_thinking(Thinking::kNone, "<think>a</think>b", "", "<think>a</think>b");
}

TEST_CASE("calls are looked for after reasoning only") {
  const std::string call = R"(<tool_call>{"name":"f","arguments":{}}</tool_call>)";
  for (const auto& pieces : cuts("<think>" + call + "</think>\n" + call)) {
    const ParsedAnswer got = parse(ToolForm::kHermes, pieces, Thinking::kMay);
    CHECK(got.reasoning == call);
    CHECK(got.content.empty());
    CHECK(got.calls.size() == 1);
  }
}

TEST_CASE("without tools no call is looked for") {
  AnswerParser parser(ToolForm::kHermes, {}, Thinking::kNone);
  const std::string call = R"( <tool_call>{"name":"f","arguments":{}}</tool_call> )";
  CHECK(parser.push(call) == std::vector<AnswerDelta>{{Kind::kContent, call}});
  CHECK(parser.finish().empty());
}

TEST_CASE("the end of a prompt says whether its answer begins with a thought") {
  CHECK(thinking_after("<|im_start|>assistant\n") == Thinking::kMay);
  CHECK(thinking_after("<|im_start|>assistant\n<think>\n") == Thinking::kInside);
  CHECK(thinking_after("assistant\n<think>\n\n</think>\n\n") == Thinking::kNone);
  CHECK(thinking_after("") == Thinking::kMay);
}

TEST_CASE("a template's text says how calls are written") {
  CHECK(tool_form_of("...\\n<tool_call>\\n{\"name\": ") == ToolForm::kHermes);
  CHECK(tool_form_of("{{- \"[TOOL_CALLS]\" + ") == ToolForm::kMistral);
  CHECK(tool_form_of("{{- '<|python_tag|>' ") == ToolForm::kLlama3);
  CHECK(tool_form_of("role == \"ipython\" ... '\"parameters\": ' ") == ToolForm::kLlama3);
  CHECK(tool_form_of("<tool_call>\\n<function=example>") == ToolForm::kUnknown);
  CHECK(tool_form_of("{{ message.content }}") == ToolForm::kNone);
  CHECK(template_thinks("message.content.split('</think>')"));
  CHECK_FALSE(template_thinks("message.content"));
}

}  // namespace
}  // namespace seer::serve
