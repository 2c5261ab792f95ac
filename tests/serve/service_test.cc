// The API with an engine that fails, never ends or is full, which no real engine does on demand.
#include "tools/seer/serve/service.h"

#include <chrono>
#include <thread>

#include "tests/serve/api_server.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

using testing::ApiServer;
using testing::engine_with;
using testing::eventually;
using testing::FakeEngine;
using testing::named;
using testing::plain;
using testing::post;
using testing::RawClient;
using testing::Script;

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kPlain = R"({"prompt":"x","max_tokens":50})";
constexpr const char* kStreamed = R"({"prompt":"x","max_tokens":50,"stream":true})";

TEST_CASE("health is 503 while the model loads and once the server stops") {
  ApiServer server(nullptr);
  CHECK_THAT(testing::get(server.http.url(), "/health"), ContainsSubstring("HTTP/1.1 503 "));
  CHECK_THAT(server.ask(kPlain), ContainsSubstring("\"code\":\"loading\""));
  CHECK_THAT(testing::get(server.http.url(), "/metrics"), ContainsSubstring("HTTP/1.1 200 "));
  server.service.set_engine(engine_with({{}, std::nullopt, false, false}));
  CHECK_THAT(testing::get(server.http.url(), "/health"), ContainsSubstring("HTTP/1.1 200 "));
  server.service.stop();
  const std::string stopping = testing::get(server.http.url(), "/health");
  CHECK_THAT(stopping, ContainsSubstring("HTTP/1.1 503 "));
  CHECK_THAT(stopping, ContainsSubstring("\"code\":\"stopping\""));
  CHECK_THAT(stopping, ContainsSubstring("Retry-After: 1"));
}

TEST_CASE("a message that quotes a byte of zero goes on after it") {
  const ApiServer server(engine_with({{}, std::nullopt, false, false}));
  CHECK_THAT(testing::get(server.http.url(), "/v1/models/a%00b"),
             ContainsSubstring(R"(there is no model 'a\\x00b' here, only 'm')"));
  CHECK_THAT(server.ask(R"({"prompt":"x","mo\u0000del":1})"),
             ContainsSubstring(R"(unknown field 'mo\\x00del')"));
}

TEST_CASE("a generation that fails before its first token gets a status by the kind of the error") {
  const std::vector<std::pair<ErrorKind, std::string>> kinds = {{ErrorKind::kUsage, "400"},
                                                                {ErrorKind::kMemory, "503"},
                                                                {ErrorKind::kDevice, "500"},
                                                                {ErrorKind::kRuntime, "500"}};
  for (const auto& [kind, status] : kinds) {
    const ApiServer server(engine_with({{}, Error(kind, "the reason"), false, false}));
    for (const char* body : {kPlain, kStreamed}) {
      const std::string answer = server.ask(body);
      CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 " + status + " "));
      CHECK_THAT(answer, ContainsSubstring("\"message\":\"the reason\""));
    }
  }
}

TEST_CASE("a generation that fails in mid-stream ends with an error event and without DONE") {
  ApiServer server(engine_with({{"one", " two"}, Error(ErrorKind::kDevice, "the reason"), false, true}));
  RawClient client(server.http.url());
  client.send(post(kCompletions, kStreamed, "Connection: close\r\n"));
  CHECK_THAT(client.read_until("one"), ContainsSubstring("HTTP/1.1 200 "));
  server.engine->release();
  const std::string answer = client.read_to_end();
  CHECK_THAT(answer,
             ContainsSubstring("data: {\"error\":{\"message\":\"the reason\",\"type\":\"server_error\""));
  CHECK(answer.find("[DONE]") == std::string::npos);
  CHECK(answer.ends_with("0\r\n\r\n"));  // HTTP's own end, so the connection may continue
  CHECK(eventually([&] { return server.last_status == 500; }));
  CHECK_THAT(server.ask(kPlain), ContainsSubstring("HTTP/1.1 500 "));
  CHECK_THAT(testing::get(server.http.url(), "/health"), ContainsSubstring("\"code\":\"device_failed\""));
}

TEST_CASE("an engine that has lost a rank answers health and requests with 503 and the reason") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  CHECK_THAT(testing::get(server.http.url(), "/health"), ContainsSubstring("HTTP/1.1 200 "));
  server.engine->failed = true;
  for (const std::string& answer : {testing::get(server.http.url(), "/health"), server.ask(kPlain)}) {
    CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 503 "));
    CHECK_THAT(answer, ContainsSubstring("\"message\":\"rank 1 of 2 has ended\""));
  }
}

TEST_CASE("an answer is sent to HTTP 1.0 without chunks") {
  const ApiServer server(engine_with({{"one", " two"}, std::nullopt, false, false}));
  RawClient client(server.http.url());
  const std::string body = kStreamed;
  client.send("POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);
  const std::string answer = client.read_to_end();
  CHECK(answer.ends_with("data: [DONE]\n\n"));
  CHECK(answer.find("chunked") == std::string::npos);
}

TEST_CASE("what takes longer than the server allows is cancelled") {
  ServiceOptions options = named();
  options.request_timeout = std::chrono::milliseconds(20);
  const ApiServer server(engine_with({{"one"}, std::nullopt, true, false}), options);
  const std::string plain = server.ask(kPlain);
  CHECK_THAT(plain, ContainsSubstring("HTTP/1.1 503 "));
  CHECK_THAT(plain, ContainsSubstring("\"code\":\"request_timeout\""));
  CHECK_THAT(server.ask(kStreamed), ContainsSubstring("\"code\":\"request_timeout\""));
  CHECK(eventually([&] { return server.engine->n_cancelled == 2; }));
}

TEST_CASE("a client that leaves cancels its generation, before the first token too") {
  for (const bool with_token : {true, false}) {
    for (const char* body : {kPlain, kStreamed}) {
      ApiServer server(engine_with({with_token ? std::vector<std::string>{"one"} : std::vector<std::string>{},
                                    std::nullopt, true, false}));
      RawClient client(server.http.url());
      client.send(post(kCompletions, body));
      REQUIRE(eventually([&] { return server.engine->submitted().size() == 1; }));
      client.close();
      CHECK(eventually([&] { return server.engine->n_cancelled == 1; }));
      CHECK(eventually([&] { return server.last_status == kClientGone; }));
    }
  }
}

TEST_CASE("a client that closed its half gets its answer, however long that takes") {
  for (const char* body : {kPlain, kStreamed}) {
    ApiServer server(engine_with({{"one"}, std::nullopt, false, true}));
    RawClient client(server.http.url());
    client.send(post(kCompletions, body));
    client.close_half();
    REQUIRE(eventually([&] { return server.engine->submitted().size() == 1; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // longer than until the server checks
                                                                   // whether the client still reads
    server.engine->release();
    CHECK_THAT(client.read_to_end(), ContainsSubstring("one"));
    CHECK(server.last_status == 200);
  }
}

TEST_CASE("a full queue gets 429") {
  ServiceOptions options = named();
  options.max_queue = 3;
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}), options);
  server.engine->n_waiting = 3;
  const std::string refused = server.ask(kPlain);
  CHECK_THAT(refused, ContainsSubstring("HTTP/1.1 429 "));
  CHECK_THAT(refused, ContainsSubstring("Retry-After: 1"));
  server.engine->n_waiting = 2;
  CHECK_THAT(server.ask(kPlain), ContainsSubstring("HTTP/1.1 200 "));
  CHECK_THAT(server.ask(R"({"prompt":"x","n":2})"), ContainsSubstring("HTTP/1.1 429 "));
  CHECK_THAT(server.ask(R"({"prompt":"x","n":4})"), ContainsSubstring("HTTP/1.1 400 "));
}

TEST_CASE("a rule that the model's gates cannot follow is refused by the name of its field") {
  const auto engine = engine_with({{"one"}, std::nullopt, false, false});
  engine->have_decode_gates();
  const ApiServer server(engine, named(), plain());
  const auto refused = [&](const char* field, const char* rule) {
    const std::string answer =
        server.ask(std::string(R"({"prompt":[7,8],")") + field + R"(":")" + rule + R"("})");
    CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
    CHECK_THAT(answer, ContainsSubstring(std::string(R"("param":")") + field + '"'));
    return answer;
  };
  CHECK_THAT(refused("sparse_decode", "budget=63"), ContainsSubstring("one block of 64 tokens"));
  CHECK_THAT(refused("sparse", "threshold=0.1"), ContainsSubstring("only gates for decoding were loaded"));
  CHECK(engine->submitted().empty());
}

TEST_CASE("the engine is asked for what the request says") {
  ServiceOptions options = named();
  options.standards.sparse = SparseRule::parse("threshold=0.01");
  options.standards.sparse_decode = SparseDecodeRule::parse("budget=512");
  const auto engine = engine_with({{"one"}, std::nullopt, false, false});
  engine->have_decode_gates();
  const ApiServer server(engine, options, plain());
  const auto last = [&](const std::string& body, const char* path = kCompletions) {
    const std::string answer = server.ask(body, path);
    INFO(answer);
    REQUIRE(answer.starts_with("HTTP/1.1 200 "));
    return server.engine->submitted().back();
  };
  CHECK(last(R"({"prompt":[7,8]})").max_new_tokens == 16);
  CHECK(last(R"({"prompt":[7,8]})").prompt == std::vector<int32_t>{7, 8});
  CHECK(last(R"({"prompt":[7,8]})").sparse == options.standards.sparse);
  CHECK(last(R"({"prompt":[7,8],"sparse":"dense"})").sparse == SparseRule{});
  CHECK(last(R"({"prompt":[7,8]})").sparse_decode == options.standards.sparse_decode);
  CHECK(last(R"({"prompt":[7,8],"sparse_decode":"ratio=0.5"})").sparse_decode ==
        SparseDecodeRule{SparseDecodeRule::Method::kRatio, 0.5});
  CHECK(last(R"({"prompt":[7],"max_tokens":999})").max_new_tokens == 999);
  CHECK(last(R"({"prompt":"x","stop":"s","ignore_eos":true})").stop == std::vector<std::string>{"s"});
  CHECK(last(R"({"prompt":"x","ignore_eos":true})").ignore_eos);
  CHECK(last(R"({"prompt":"x","n":3,"seed":5})").sampling.seed == 7u);
  const GenerateRequest chat =
      last(R"({"messages":[{"role":"user","content":"x"}]})", "/v1/chat/completions");
  CHECK(chat.max_new_tokens == 1000 - static_cast<int64_t>(chat.prompt.size()));  // the rest of the context
}

TEST_CASE("prompt and answer must fit the context") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  const auto ids = [](size_t n) {
    std::string text = "[5";
    for (size_t i = 1; i < n; ++i) text += ",5";
    return text + "]";
  };
  CHECK_THAT(server.ask("{\"prompt\":" + ids(999) + "}"), ContainsSubstring("HTTP/1.1 200 "));
  // The default is reduced to the room that is left.
  CHECK(server.engine->submitted().back().max_new_tokens == 1);
  for (const std::string& body :
       {"{\"prompt\":" + ids(1000) + "}", "{\"prompt\":" + ids(900) + ",\"max_tokens\":101}"}) {
    const std::string answer = server.ask(body);
    CHECK_THAT(answer, ContainsSubstring("\"code\":\"context_length_exceeded\""));
    CHECK_THAT(answer, ContainsSubstring("1000 tokens"));
  }
}

TEST_CASE("a chat without a template is refused with what to do") {
  // The demo's tokenizer names no template.
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  const std::string answer =
      server.ask(R"({"messages":[{"role":"user","content":"x"}]})", "/v1/chat/completions");
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(answer, ContainsSubstring("--chat-template"));
}

TEST_CASE("roles that the template does not take are refused by the template's reason") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}), named(),
                         {ChatTemplate::load("llama2"), Json::object(), {}});
  const char* path = "/v1/chat/completions";
  CHECK_THAT(server.ask(R"({"messages":[{"role":"user","content":"x"}]})", path), ContainsSubstring(" 200 "));
  const std::string answer =
      server.ask(R"({"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]})", path);
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(answer, ContainsSubstring("\"param\":\"messages\""));
}

TEST_CASE("the limits top_p 0, min_p 1 and top_k -1 are accepted") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  for (const char* field : {"\"top_p\":0", "\"min_p\":1", "\"top_k\":-1"})
    CHECK_THAT(server.ask(R"({"prompt":"x",)" + std::string(field) + "}"),
               ContainsSubstring("HTTP/1.1 200 "));
  CHECK_THAT(server.ask(R"({"prompt":"x","top_p":-1})"), ContainsSubstring("\"param\":\"top_p\""));
}

nlohmann::json body_of(const std::string& answer) {
  INFO(answer);
  REQUIRE(answer.starts_with("HTTP/1.1 200 "));
  return nlohmann::json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
}

std::vector<nlohmann::json> events_of(const std::string& answer) {
  std::vector<nlohmann::json> events;
  for (size_t at = 0; (at = answer.find("data: {", at)) != std::string::npos; at += 6)
    events.push_back(nlohmann::json::parse(answer.substr(at + 6, answer.find("\n\n", at) - at - 6)));
  return events;
}

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kTools =
    R"({"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}])";

ChatModel hermes() { return plain({ToolForm::kHermes, true, true}); }

TEST_CASE("calls and reasoning of an answer are told apart, whole and streamed") {
  Script script{{"<think>h", "m\n</think>\n", "Let me see.\n<tool_", "call>{\"name\":\"f\",\"argum",
                 "ents\":{\"a\"", ":1}}</tool_call>"},
                std::nullopt,
                false,
                false,
                FinishReason::kEos};
  const ApiServer server(engine_with(script), named(), hermes());
  const auto choice = body_of(server.ask(std::string(kTools) + "}", kChat))["choices"][0];
  CHECK(choice["finish_reason"] == "tool_calls");
  const auto message = choice["message"];
  CHECK(message["reasoning_content"] == "hm");
  CHECK(message["content"] == "Let me see.");
  CHECK(message["tool_calls"][0]["function"] == nlohmann::json{{"name", "f"}, {"arguments", "{\"a\":1}"}});

  std::string reasoning, content, arguments, name;
  const auto events = events_of(server.ask(std::string(kTools) + R"(,"stream":true})", kChat));
  for (const auto& event : events) {
    const auto delta = event["choices"][0]["delta"];
    reasoning += delta.value("reasoning_content", "");
    content += delta.value("content", "");
    if (!delta.contains("tool_calls")) continue;
    CHECK(delta["tool_calls"][0]["index"] == 0);
    name += delta["tool_calls"][0]["function"].value("name", "");
    arguments += delta["tool_calls"][0]["function"]["arguments"].get<std::string>();
  }
  CHECK(reasoning == "hm");
  CHECK(content == "Let me see.");
  CHECK(name == "f");
  CHECK(arguments == "{\"a\":1}");
  CHECK(events.back()["choices"][0]["finish_reason"] == "tool_calls");
}

TEST_CASE("without tools, or with the choice none, calls stay text") {
  const std::string call = R"(<tool_call>{"name":"f","arguments":{}}</tool_call>)";
  const ApiServer server(engine_with({{call}, std::nullopt, false, false}), named(), hermes());
  for (const std::string& body : {std::string(R"({"messages":[{"role":"user","content":"x"}]})"),
                                  std::string(kTools) + R"(,"tool_choice":"none"})"}) {
    const auto message = body_of(server.ask(body, kChat))["choices"][0]["message"];
    CHECK(message["content"] == call);
    CHECK_FALSE(message.contains("tool_calls"));
  }
}

TEST_CASE("only the first of several calls is given if no parallel ones are wanted") {
  const std::string call = R"(<tool_call>{"name":"f","arguments":{}}</tool_call>)";
  const ApiServer server(engine_with({{call, call}, std::nullopt, false, false}), named(), hermes());
  const auto calls = [&](const std::string& more) {
    return body_of(server.ask(kTools + more, kChat))["choices"][0]["message"]["tool_calls"].size();
  };
  CHECK(calls("}") == 2);
  CHECK(calls(R"(,"parallel_tool_calls":false})") == 1);
}

TEST_CASE("tools are refused if the template does not show them, or writes calls in an unknown form") {
  const std::string tools = std::string(kTools) + "}";
  const ApiServer without(engine_with({{"one"}, std::nullopt, false, false}), named(), plain());
  CHECK_THAT(without.ask(tools, kChat), ContainsSubstring("does not show tools"));
  const ApiServer unknown(engine_with({{"one"}, std::nullopt, false, false}), named(),
                          plain({ToolForm::kUnknown, false, true}));
  CHECK_THAT(unknown.ask(tools, kChat), ContainsSubstring("--tool-call-parser none"));
  const ApiServer text(engine_with({{"one"}, std::nullopt, false, false}), named(),
                       plain({ToolForm::kNone, false, true}));
  CHECK(body_of(text.ask(tools, kChat))["choices"][0]["message"]["content"] == "one");
}

TEST_CASE("log-probabilities of a completion, with its prompt, whole and streamed") {
  const ApiServer server(engine_with({{"a", "#2", "b"}, std::nullopt, false, false}));
  const auto ask = [&](const std::string& more) {
    return body_of(server.ask(R"({"prompt":[300,301],"logprobs":2)" + more + "}"))["choices"][0]["logprobs"];
  };
  const auto plain = ask("");
  CHECK(plain["token_logprobs"] == std::vector<double>{-0.5, -0.5, -0.5});
  CHECK(plain["tokens"].size() == 3);
  CHECK(plain["top_logprobs"][0].size() == 2);
  const auto length = static_cast<int64_t>(plain["tokens"][0].get<std::string>().size());
  CHECK(plain["text_offset"] == std::vector<int64_t>{0, length, length});  // a special token leaves no text
  const auto echo = ask(R"(,"echo":true)");
  CHECK(echo["token_logprobs"].size() == 5);
  CHECK(echo["token_logprobs"][0].is_null());
  CHECK(echo["top_logprobs"][0].is_null());
  CHECK(echo["token_logprobs"][1] == -0.5);

  nlohmann::json joined;
  for (const auto& event :
       events_of(server.ask(R"({"prompt":[300,301],"logprobs":2,"echo":true,"stream":true})")))
    if (const auto& one = event["choices"][0]["logprobs"]; !one.is_null())
      for (const auto& [key, values] : one.items())
        for (const auto& value : values) joined[key].push_back(value);
  CHECK(joined == echo);
}

TEST_CASE("log-probabilities of a chat") {
  const ApiServer server(engine_with({{"a", "b"}, std::nullopt, false, false}), named(), plain());
  const std::string messages =
      R"({"messages":[{"role":"user","content":"x"}],"logprobs":true,"top_logprobs":3)";
  const auto content = body_of(server.ask(messages + "}", kChat))["choices"][0]["logprobs"]["content"];
  REQUIRE(content.size() == 2);
  CHECK(content[0]["logprob"] == -0.5);
  CHECK(content[0]["top_logprobs"].size() == 3);
  CHECK(content[0]["top_logprobs"][0]["token"] == content[0]["token"]);
  const auto token = content[0]["token"].get<std::string>();
  CHECK(content[0]["bytes"] == std::vector<int>(token.begin(), token.end()));
  size_t n = 0;
  for (const auto& event : events_of(server.ask(messages + R"(,"stream":true})", kChat)))
    if (const auto& one = event["choices"][0]["logprobs"]; !one.is_null()) n += one["content"].size();
  CHECK(n == 2);
}

TEST_CASE("special tokens are shown if they are asked for, but for the end") {
  const FakeEngine words({{}, std::nullopt, false, false});
  const std::string word = words.tokenizer().token_bytes(testing::kSomeToken);
  const ApiServer server(engine_with({{word, "#1", word, "#2"}, std::nullopt, false, false}));
  const auto text = [&](const std::string& more) {
    return body_of(server.ask(R"({"prompt":[300])" + more + "}"))["choices"][0]["text"];
  };
  CHECK(text("") == word + word);
  CHECK(text(R"(,"skip_special_tokens":false)") == word + "<s>" + word);
}

TEST_CASE("text is cut into tokens and put together again") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}), named(), plain());
  const auto tokens = body_of(server.ask(R"({"prompt":"Hello","return_token_strs":true})", "/tokenize"));
  CHECK(tokens["count"] == tokens["tokens"].size());
  CHECK(tokens["max_model_len"] == 1000);
  CHECK(tokens["tokens"][0] == 1);
  CHECK(tokens["token_strs"][0] == "<s>");
  const auto bare = body_of(server.ask(R"({"prompt":"Hello","add_special_tokens":false})", "/tokenize"));
  CHECK(bare["count"] == tokens["count"].get<int>() - 1);
  CHECK(bare["token_strs"].is_null());
  CHECK(body_of(server.ask(R"({"tokens":)" + bare["tokens"].dump() + "}", "/detokenize"))["prompt"] ==
        "Hello");
  const auto chat = body_of(server.ask(R"({"messages":[{"role":"user","content":"Hello"}]})", "/tokenize"));
  CHECK(chat["tokens"] == tokens["tokens"]);
  CHECK(body_of(testing::get(server.http.url(), "/tokenizer_info"))["eos_token"] == "</s>");
  CHECK_THAT(server.ask(R"({"tokens":[99999]})", "/detokenize"), ContainsSubstring("\"param\":\"tokens\""));
  CHECK_THAT(server.ask("{}", "/detokenize"), ContainsSubstring("missing"));
  CHECK_THAT(server.ask("{}", "/tokenize"), ContainsSubstring("missing"));
}

TEST_CASE(
    "special tokens of a completion's prompt are recognised, unless the request or the server says no") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  const auto n = [&](const ApiServer& asked, const std::string& more) {
    body_of(asked.ask(R"({"prompt":"a</s>b")" + more + "}"));
    return asked.engine->submitted().back().prompt.size();
  };
  const size_t parsed = n(server, "");
  CHECK(n(server, R"(,"parse_special":false)") > parsed);
  ServiceOptions options = named();
  options.prompts.parse_special = false;
  const ApiServer literal(engine_with({{"one"}, std::nullopt, false, false}), options);
  CHECK(n(literal, "") > parsed);
  CHECK(n(literal, R"(,"parse_special":true)") == parsed);
}

TEST_CASE("ids beyond the vocabulary are refused by the field they came in") {
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}));
  for (const std::string field : {R"("stop_token_ids":[99999])", R"("logit_bias":{"99999":1})"}) {
    const std::string answer = server.ask(R"({"prompt":"x",)" + field + "}");
    CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
    CHECK_THAT(answer, ContainsSubstring("99999"));
    CHECK_THAT(answer, ContainsSubstring("\"param\":\"" + field.substr(1, field.find(':') - 2) + "\""));
  }
}

TEST_CASE("a temperature that nobody named is the server's") {
  ServiceOptions options = named();
  options.standards.temperature = 1.0;
  const ApiServer server(engine_with({{"one"}, std::nullopt, false, false}), options);
  body_of(server.ask(R"({"prompt":"x"})"));
  CHECK(server.engine->submitted().back().sampling.temperature == 1.0);
  body_of(server.ask(R"({"prompt":"x","temperature":0.2})"));
  CHECK(server.engine->submitted().back().sampling.temperature == 0.2);
}

}  // namespace
}  // namespace seer::serve
