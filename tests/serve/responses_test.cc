// Answers as JSON, in the shapes of the API.
#include "tools/seer/serve/responses.h"

#include <algorithm>
#include <cctype>

#include "tests/support/catch.h"

namespace seer::serve {
namespace {

using Json = nlohmann::json;

Json event(const std::string& text) {
  REQUIRE(text.starts_with("data: "));
  REQUIRE(text.ends_with("\n\n"));
  const std::string body = text.substr(6, text.size() - 8);
  REQUIRE(body.find('\n') == std::string::npos);
  return Json::parse(body);
}

Choice text(const std::string& content, FinishReason finish) {
  Choice choice;
  choice.answer.content = content;
  choice.finish = finish;
  return choice;
}

std::string content(const ResponseWriter& writer, size_t choice, const std::string& text) {
  return writer.pieces(choice, {{AnswerDelta::Kind::kContent, text}});
}

TEST_CASE("a whole completion") {
  const ResponseWriter writer(false, "m", false);
  const Json out = Json::parse(writer.whole(
      {text("a\n\"b\"", FinishReason::kStopString), text("", FinishReason::kContextFull)}, {5, 3, 4}));
  CHECK(out["object"] == "text_completion");
  CHECK(out["model"] == "m");
  CHECK(out["id"].get<std::string>().starts_with("cmpl-"));
  CHECK(out["created"].is_number_integer());
  CHECK(out["choices"] ==
        Json::parse(R"([{"index":0,"text":"a\n\"b\"","logprobs":null,"finish_reason":"stop"},)"
                    R"({"index":1,"text":"","logprobs":null,"finish_reason":"length"}])"));
  CHECK(out["usage"] == Json::parse(R"({"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,)"
                                    R"("prompt_tokens_details":{"cached_tokens":4}})"));
}

TEST_CASE("a whole chat answer") {
  const ResponseWriter writer(true, "m", false);
  const Json out = Json::parse(writer.whole({text("hi", FinishReason::kEos)}, {}));
  CHECK(out["object"] == "chat.completion");
  CHECK(out["id"].get<std::string>().starts_with("chatcmpl-"));
  CHECK(out["choices"] ==
        Json::parse(R"([{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},)"
                    R"("logprobs":null,"finish_reason":"stop"}])"));
}

TEST_CASE("a whole chat answer with reasoning, calls and log-probabilities") {
  const ResponseWriter writer(true, "m", false);
  Choice choice = text("", FinishReason::kEos);
  choice.answer.reasoning = "hm";
  choice.answer.calls = {{"f", "{\"a\": 1}"}, {"g", "{}"}};
  choice.logprobs = {{"content", nlohmann::ordered_json::array()}};
  const Json out = Json::parse(writer.whole({choice}, {}))["choices"][0];
  CHECK(out["finish_reason"] == "tool_calls");
  CHECK(out["logprobs"] == Json::parse(R"({"content":[]})"));
  CHECK(out["message"]["content"].is_null());
  CHECK(out["message"]["reasoning_content"] == "hm");
  const Json calls = out["message"]["tool_calls"];
  REQUIRE(calls.size() == 2);
  CHECK(calls[0]["type"] == "function");
  CHECK(calls[0]["function"] == Json::parse(R"({"name":"f","arguments":"{\"a\": 1}"})"));
  CHECK(calls[0]["id"].get<std::string>().starts_with("call_"));
  CHECK(calls[0]["id"] != calls[1]["id"]);
  choice.finish = FinishReason::kLength;
  CHECK(Json::parse(writer.whole({choice}, {}))["choices"][0]["finish_reason"] == "length");
}

TEST_CASE("ids of calls for Mistral's templates have nine letters and digits") {
  const ResponseWriter writer(true, "m", false, true);
  const Json call = event(writer.pieces(0, {{AnswerDelta::Kind::kCallBegin, "f", 1}}));
  const Json delta = call["choices"][0]["delta"]["tool_calls"][0];
  CHECK(delta["index"] == 1);
  const auto id = delta["id"].get<std::string>();
  CHECK(id.size() == 9);
  CHECK(std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0; }));
}

TEST_CASE("events of reasoning and calls") {
  using DeltaKind = AnswerDelta::Kind;
  const ResponseWriter writer(true, "m", false);
  const auto delta = [&](const AnswerDelta& one) {
    return event(writer.pieces(0, {one}))["choices"][0]["delta"];
  };
  CHECK(delta({DeltaKind::kReasoning, "hm"}) == Json::parse(R"({"reasoning_content":"hm"})"));
  const Json begin = delta({DeltaKind::kCallBegin, "f"})["tool_calls"][0];
  CHECK(begin["function"] == Json::parse(R"({"name":"f","arguments":""})"));
  CHECK(begin["type"] == "function");
  CHECK(delta({DeltaKind::kCallArguments, "{\"a"}) ==
        Json::parse(R"({"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]})"));
  CHECK(writer.pieces(0, {{DeltaKind::kCallEnd, ""}}).empty());
  // Log-probabilities come with the first event, or in an event of their own if there is none.
  const nlohmann::ordered_json logprobs = {{"content", {1}}};
  const Json same = {{"content", {1}}};
  const std::string two =
      writer.pieces(0, {{DeltaKind::kReasoning, "a"}, {DeltaKind::kContent, "b"}}, logprobs);
  CHECK(event(two.substr(0, two.find("\n\n") + 2))["choices"][0]["logprobs"] == same);
  CHECK(event(two.substr(two.find("\n\n") + 2))["choices"][0]["logprobs"].is_null());
  CHECK(event(writer.pieces(0, {}, logprobs))["choices"][0]["logprobs"] == same);
  CHECK(event(writer.last(0, FinishReason::kEos, true))["choices"][0]["finish_reason"] == "tool_calls");
}

TEST_CASE("events of a chat") {
  const ResponseWriter writer(true, "m", true);
  CHECK(
      event(writer.first(2))["choices"] ==
      Json::parse(
          R"([{"index":2,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}])"));
  CHECK(event(content(writer, 0, "x"))["choices"][0]["delta"] == Json::parse(R"({"content":"x"})"));
  const Json last = event(writer.last(0, FinishReason::kLength));
  CHECK(last["choices"][0]["delta"] == Json::object());
  CHECK(last["choices"][0]["finish_reason"] == "length");
  CHECK(last["usage"].is_null());
  CHECK(last["object"] == "chat.completion.chunk");
  const Json usage = event(writer.usage({1, 2, 0}));
  CHECK(usage["choices"].empty());
  CHECK(usage["usage"]["total_tokens"] == 3);
  CHECK(ResponseWriter::end() == "data: [DONE]\n\n");
}

TEST_CASE("events of a completion, without usage") {
  const ResponseWriter writer(false, "m", false);
  CHECK(writer.first(0) == "");
  CHECK(writer.usage({1, 2, 0}) == "");
  const Json piece = event(content(writer, 1, "x"));
  CHECK(piece["choices"] == Json::parse(R"([{"index":1,"text":"x","logprobs":null,"finish_reason":null}])"));
  CHECK_FALSE(piece.contains("usage"));
  CHECK(event(writer.last(1, FinishReason::kEos))["choices"][0]["finish_reason"] == "stop");
}

TEST_CASE("bytes that are no characters do not break an answer") {
  const ResponseWriter writer(false, "m", false);
  CHECK(event(content(writer, 0, "a\xff"))["choices"][0]["text"] == "a\xef\xbf\xbd");
}

TEST_CASE("two answers have different ids") {
  const auto id = [] { return event(ResponseWriter(true, "m", false).first(0))["id"].get<std::string>(); };
  CHECK(id() != id());
}

}  // namespace
}  // namespace seer::serve
