// Answers as JSON: the API's shapes.
#include "tools/seer/serve/responses.h"

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

TEST_CASE("a whole completion") {
  const ResponseWriter writer(false, "m", false);
  const Json out = Json::parse(
      writer.whole({{"a\n\"b\"", FinishReason::kStopString}, {"", FinishReason::kContextFull}}, {5, 3, 4}));
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
  const Json out = Json::parse(writer.whole({{"hi", FinishReason::kEos}}, {}));
  CHECK(out["object"] == "chat.completion");
  CHECK(out["id"].get<std::string>().starts_with("chatcmpl-"));
  CHECK(out["choices"] ==
        Json::parse(R"([{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},)"
                    R"("logprobs":null,"finish_reason":"stop"}])"));
}

TEST_CASE("events of a chat") {
  const ResponseWriter writer(true, "m", true);
  CHECK(
      event(writer.first(2))["choices"] ==
      Json::parse(
          R"([{"index":2,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}])"));
  CHECK(event(writer.piece(0, "x"))["choices"][0]["delta"] == Json::parse(R"({"content":"x"})"));
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
  const Json piece = event(writer.piece(1, "x"));
  CHECK(piece["choices"] == Json::parse(R"([{"index":1,"text":"x","logprobs":null,"finish_reason":null}])"));
  CHECK_FALSE(piece.contains("usage"));
  CHECK(event(writer.last(1, FinishReason::kEos))["choices"][0]["finish_reason"] == "stop");
}

TEST_CASE("bytes that are no characters do not break an answer") {
  const ResponseWriter writer(false, "m", false);
  CHECK(event(writer.piece(0, "a\xff"))["choices"][0]["text"] == "a\xef\xbf\xbd");
}

TEST_CASE("two answers have different ids") {
  const auto id = [] { return event(ResponseWriter(true, "m", false).first(0))["id"].get<std::string>(); };
  CHECK(id() != id());
}

}  // namespace
}  // namespace seer::serve
