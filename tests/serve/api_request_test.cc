// Requests: what is read from them, and which field a refusal names.
#include "tools/seer/serve/api_request.h"

#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

ApiRequest completion(const std::string& body) { return parse_completion(parse_body(body)); }
ApiRequest chat(const std::string& body) { return parse_chat(parse_body(body)); }

template <typename Parse>
void check_refused(const Parse& parse, const std::string& body, const std::string& param,
                   const std::vector<std::string>& words) {
  INFO(body);
  try {
    parse(body);
  } catch (const ApiError& error) {
    CHECK(error.status() == kBadRequest);
    const auto json = error.to_json()["error"];
    CHECK(json["type"] == "invalid_request_error");
    CHECK((json["param"].is_null() ? "" : json["param"].get<std::string>()) == param);
    for (const std::string& word : words) CHECK_THAT(error.what(), ContainsSubstring(word));
    return;
  }
  FAIL_CHECK("it was accepted");
}

void completion_refused(const std::string& field, const std::string& param,
                        const std::vector<std::string>& words) {
  check_refused(completion, R"({"prompt":"x",)" + field + "}", param, words);
}

void chat_refused(const std::string& body, const std::string& param, const std::vector<std::string>& words) {
  check_refused(chat, body, param, words);
}

TEST_CASE("a completion request is read with every field") {
  const ApiRequest r = completion(
      R"({"model":"m","prompt":["a","b"],"max_tokens":7,"temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,"n":2,)"
      R"("stop":["x","y"],"stream":true,"stream_options":{"include_usage":true},"echo":true,"seed":-3,)"
      R"("presence_penalty":1,"frequency_penalty":-2,"ignore_eos":true,"sparse":"nz_ratio=0.1"})");
  CHECK_FALSE(r.chat);
  CHECK(r.model == "m");
  CHECK(r.prompts == std::vector<PromptInput>{"a", "b"});
  CHECK(r.n_choices() == 4);
  CHECK(r.max_tokens == 7);
  CHECK(r.stop == std::vector<std::string>{"x", "y"});
  CHECK((r.stream && r.include_usage && r.echo && r.ignore_eos));
  CHECK(r.sparse == SparseRule{SparseRule::Method::kNzRatio, 0.1});
  const SamplingParams params = r.sampling(SamplingParams{}, 1);
  CHECK(params.temperature == 0.5);
  CHECK(params.top_p == 0.9);
  CHECK(params.top_k == 40);
  CHECK(params.min_p == 0.1);
  CHECK(params.presence_penalty == 1.0);
  CHECK(params.frequency_penalty == -2.0);
  CHECK(params.seed == static_cast<uint64_t>(-2));  // a choice's own
}

TEST_CASE("what is not given, or null, is the model's") {
  const ApiRequest r =
      completion(R"({"prompt":"x","temperature":null,"stop":null,"seed":null,"stream":null})");
  SamplingParams standard;
  standard.temperature = 0.3;
  standard.top_k = 12;
  const SamplingParams params = r.sampling(standard, 0);
  CHECK(params.temperature == 0.3);
  CHECK(params.top_k == 12);
  CHECK_FALSE(params.seed);
  CHECK_FALSE(r.max_tokens);
  CHECK_FALSE(r.sparse);
  CHECK(r.n == 1);
  CHECK(completion(R"({"prompt":"x","top_k":-1})").sampling(standard, 0).top_k == 0);  // all
}

TEST_CASE("a prompt is text or ids, one or many") {
  using Ids = std::vector<int32_t>;
  CHECK(completion(R"({"prompt":""})").prompts == std::vector<PromptInput>{""});
  CHECK(completion(R"({"prompt":[1,2]})").prompts == std::vector<PromptInput>{Ids{1, 2}});
  CHECK(completion(R"({"prompt":[[1],[2,3]]})").prompts == std::vector<PromptInput>{Ids{1}, Ids{2, 3}});
  check_refused(completion, "{}", "prompt", {"missing"});
  check_refused(completion, R"({"prompt":7})", "prompt", {"expected a string", "the number 7"});
  check_refused(completion, R"({"prompt":[]})", "prompt", {"an empty array"});
  check_refused(completion, R"({"prompt":[[]]})", "prompt", {"prompt[0]", "an empty array"});
  check_refused(completion, R"({"prompt":["a",1]})", "prompt[1]", {"expected a string", "the number 1"});
  check_refused(completion, R"({"prompt":[1,"a"]})", "prompt[1]", {"a token id", "'a'"});
  check_refused(completion, R"({"prompt":[1,-1]})", "prompt[1]", {"a token id", "-1"});
  check_refused(completion, R"({"prompt":[2147483648]})", "prompt[0]", {"2147483648"});
  check_refused(completion, R"({"prompt":[1.5]})", "prompt[0]", {"1.5"});
}

TEST_CASE("a wrong type or value is named with the field and what was expected") {
  completion_refused(R"("temperature":"hot")", "temperature", {"a number from 0 to 2", "the string 'hot'"});
  completion_refused(R"("temperature":2.5)", "temperature", {"from 0 to 2", "2.5"});
  completion_refused(R"("max_tokens":1.5)", "max_tokens", {"a whole number", "1.5"});
  completion_refused(R"("max_tokens":-1)", "max_tokens", {"at least 0", "-1"});
  completion_refused(R"("n":0)", "n", {"from 1 to 128"});
  completion_refused(R"("n":18446744073709551615)", "n", {"18446744073709551615"});
  completion_refused(R"("seed":9223372036854775808)", "seed", {"a whole number", "9223372036854775808"});
  completion_refused(R"("stream":1)", "stream", {"true or false", "the number 1"});
  completion_refused(R"("stop":[1])", "stop[0]", {"a string"});
  completion_refused(R"("stop":"")", "stop", {"empty"});
  completion_refused(R"("stop":["a","b","c","d","e"])", "stop", {"up to 4", "5"});
  completion_refused(R"("sparse":"half")", "sparse", {"half"});
  completion_refused(R"("stream_options":{"include_usage":true})", "stream_options", {"'stream' to true"});
  completion_refused(R"("stream":true,"stream_options":{"includ_usage":true})", "stream_options.includ_usage",
                     {"'include_usage'"});
  completion_refused(R"("top_p":[0.5])", "top_p", {"an array"});
}

TEST_CASE("unknown fields are refused with a near name") {
  completion_refused(R"("max_token":5)", "max_token", {"unknown", "'max_tokens'"});
  completion_refused(R"("zzz":5)", "zzz", {"unknown field 'zzz'"});
  chat_refused(R"({"mesages":[]})", "mesages", {"'messages'"});
}

TEST_CASE("fields the API knows and this server does not are refused unless they ask for nothing") {
  completion_refused(R"("logprobs":0)", "logprobs", {"not supported", "the number 0"});
  completion_refused(R"("best_of":3)", "best_of", {"not supported"});
  completion_refused(R"("suffix":"end")", "suffix", {"not supported"});
  CHECK_NOTHROW(completion(
      R"({"prompt":"x","logprobs":null,"best_of":1,"suffix":"","logit_bias":{},"user":"u","service_tier":"flex"})"));
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  for (const char* neutral :
       {R"("tools":[])", R"("tool_choice":"auto")", R"("tool_choice":"none")",
        R"("response_format":{"type":"text"})", R"("logprobs":false)", R"("top_logprobs":0)",
        R"("modalities":["text"])", R"("parallel_tool_calls":true)", R"("functions":[])",
        R"("function_call":"none")", R"("store":false)", R"("metadata":{"a":"b"})", R"("verbosity":"medium")",
        R"("reasoning_effort":"none")", R"("tools":null)"}) {
    INFO(neutral);
    CHECK_NOTHROW(chat(messages + neutral + "}"));
  }
  for (const char* name : {"tools", "tool_choice", "response_format", "modalities", "audio", "prediction",
                           "functions", "web_search_options", "reasoning_effort"})
    chat_refused(messages + "\"" + name + R"(":"something"})", name, {"not supported"});
  chat_refused(messages + R"("response_format":{"type":"json_object"}})", "response_format", {"an object"});
}

TEST_CASE("messages are text, whole or in parts") {
  const ApiRequest r = chat(
      R"({"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},)"
      R"({"type":"text","text":"b"}],"name":"n"},{"role":"assistant","content":"c","refusal":null,"tool_calls":[]},)"
      R"({"role":"user","content":""}],"max_completion_tokens":9})");
  REQUIRE(r.messages.size() == 4);
  CHECK(r.messages[0].role == "system");
  CHECK(r.messages[1].content == "a\nb");
  CHECK(r.messages[2].content == "c");
  CHECK(r.messages[3].content.empty());
  CHECK(r.max_tokens == 9);
  CHECK(r.n_choices() == 1);
}

TEST_CASE("a message that is none is named by its place") {
  chat_refused("{}", "messages", {"missing"});
  chat_refused(R"({"messages":[]})", "messages", {"at least one message"});
  chat_refused(R"({"messages":"hi"})", "messages", {"an array", "'hi'"});
  chat_refused(R"({"messages":["hi"]})", "messages[0]", {"an object"});
  chat_refused(R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].role",
               {"'tool'", "'assistant'"});
  chat_refused(R"({"messages":[{"content":"x"}]})", "messages[0].role", {"none"});
  chat_refused(R"({"messages":[{"role":"user"}]})", "messages[0].content", {"missing"});
  chat_refused(R"({"messages":[{"role":"user","content":5}]})", "messages[0].content", {"the number 5"});
  chat_refused(R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})",
               "messages[0].content[0].type", {"'image_url'", "'text'"});
  chat_refused(R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "messages[0].content[0].text",
               {"missing"});
  chat_refused(R"({"messages":[{"role":"assistant","content":"x","tool_calls":[{}]}]})",
               "messages[0].tool_calls", {"not supported"});
  chat_refused(R"({"messages":[{"role":"user","content":"x","rolle":1}]})", "messages[0].rolle", {"'role'"});
}

TEST_CASE("two names of one limit must agree") {
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  CHECK(chat(messages + R"("max_tokens":3})").max_tokens == 3);
  CHECK(chat(messages + R"("max_tokens":3,"max_completion_tokens":3})").max_tokens == 3);
  chat_refused(messages + R"("max_tokens":3,"max_completion_tokens":4})", "max_tokens", {"differ"});
  chat_refused(messages + R"("max_tokens":0})", "max_tokens", {"at least 1"});
}

TEST_CASE("a body is one JSON object, nested 64 deep at most") {
  const auto nested = [](size_t depth) {
    return R"({"prompt":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK_NOTHROW(parse_body(nested(64)));
  check_refused(parse_body, nested(65), "", {"64"});
  check_refused(parse_body, std::string(1'000'000, '['), "", {"64"});
  check_refused(parse_body, "", "", {"empty"});
  check_refused(parse_body, "{} x", "", {"not valid JSON"});
  check_refused(parse_body, "\"text\"", "", {"a JSON object", "'text'"});
  check_refused(parse_body, "{\"a\":\"\xc3\"}", "", {"not valid JSON"});
  check_refused(parse_body, R"({"a":1e999})", "", {"not valid JSON"});
}

}  // namespace
}  // namespace seer::serve
