// The API over an engine that fails, never ends or is full, as no real one does on demand.
#include "tools/seer/serve/service.h"

#include <chrono>
#include <thread>

#include "tests/serve/fake_engine.h"
#include "tests/serve/raw_client.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

using testing::FakeEngine;
using testing::post;
using testing::RawClient;
using testing::Script;

constexpr const char* kCompletions = "/v1/completions";
constexpr const char* kPlain = R"({"prompt":"x","max_tokens":50})";
constexpr const char* kStreamed = R"({"prompt":"x","max_tokens":50,"stream":true})";

ServiceOptions named() {
  ServiceOptions options;
  options.model_name = "m";
  return options;
}

HttpOptions any_port() {
  HttpOptions options;
  options.port = 0;
  return options;
}

struct Server {
  explicit Server(std::shared_ptr<FakeEngine> fake, ServiceOptions options = named(), ChatModel chat = {})
      : engine(std::move(fake)),
        service(std::move(options)),
        http(any_port(), service.routes(), [this](const Finished& f) { last_status = f.status; }) {
    if (engine) service.set_engine(engine, std::move(chat));
    http.start();
  }
  ~Server() {
    service.stop();
    http.stop_accepting();
    service.abort();
    http.join(true);
  }

  std::string ask(const std::string& body, const std::string& path = kCompletions) const {
    RawClient client(http.url());
    client.send(post(path, body, "Connection: close\r\n"));
    return client.read_to_end();
  }

  std::shared_ptr<FakeEngine> engine;
  std::atomic<int> last_status{0};
  Service service;
  HttpServer http;
};

// Waits for what another thread does; a minute is for a machine that stands still.
template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

std::shared_ptr<FakeEngine> engine_with(Script script) {
  return std::make_shared<FakeEngine>(std::move(script));
}

TEST_CASE("health is 503 while the model loads and once the server stops") {
  Server server(nullptr);
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

TEST_CASE("a generation that fails before its first token gets a status by the kind of the error") {
  const std::vector<std::pair<ErrorKind, std::string>> kinds = {{ErrorKind::kUsage, "400"},
                                                                {ErrorKind::kMemory, "503"},
                                                                {ErrorKind::kDevice, "500"},
                                                                {ErrorKind::kRuntime, "500"}};
  for (const auto& [kind, status] : kinds) {
    const Server server(engine_with({{}, Error(kind, "the reason"), false, false}));
    for (const char* body : {kPlain, kStreamed}) {
      const std::string answer = server.ask(body);
      CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 " + status + " "));
      CHECK_THAT(answer, ContainsSubstring("\"message\":\"the reason\""));
    }
  }
}

TEST_CASE("a generation that fails in mid-stream ends with an error event and without DONE") {
  Server server(engine_with({{"one", " two"}, Error(ErrorKind::kDevice, "the reason"), false, true}));
  RawClient client(server.http.url());
  client.send(post(kCompletions, kStreamed, "Connection: close\r\n"));
  CHECK_THAT(client.read_until("one"), ContainsSubstring("HTTP/1.1 200 "));
  server.engine->release();
  const std::string answer = client.read_to_end();
  CHECK_THAT(answer,
             ContainsSubstring("data: {\"error\":{\"message\":\"the reason\",\"type\":\"server_error\""));
  CHECK(answer.find("[DONE]") == std::string::npos);
  CHECK(answer.ends_with("0\r\n\r\n"));  // HTTP's own end: the connection may go on
  CHECK(eventually([&] { return server.last_status == 500; }));
  CHECK_THAT(server.ask(kPlain), ContainsSubstring("HTTP/1.1 500 "));
  CHECK_THAT(testing::get(server.http.url(), "/health"), ContainsSubstring("\"code\":\"device_failed\""));
}

TEST_CASE("an answer is sent to HTTP 1.0 without chunks") {
  const Server server(engine_with({{"one", " two"}, std::nullopt, false, false}));
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
  const Server server(engine_with({{"one"}, std::nullopt, true, false}), options);
  const std::string plain = server.ask(kPlain);
  CHECK_THAT(plain, ContainsSubstring("HTTP/1.1 503 "));
  CHECK_THAT(plain, ContainsSubstring("\"code\":\"request_timeout\""));
  CHECK_THAT(server.ask(kStreamed), ContainsSubstring("\"code\":\"request_timeout\""));
  CHECK(eventually([&] { return server.engine->n_cancelled == 2; }));
}

TEST_CASE("a client that leaves cancels its generation, before the first token too") {
  for (const bool with_token : {true, false}) {
    for (const char* body : {kPlain, kStreamed}) {
      Server server(engine_with({with_token ? std::vector<std::string>{"one"} : std::vector<std::string>{},
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

TEST_CASE("a full queue gets 429") {
  ServiceOptions options = named();
  options.max_queue = 3;
  const Server server(engine_with({{"one"}, std::nullopt, false, false}), options);
  server.engine->n_waiting = 3;
  const std::string refused = server.ask(kPlain);
  CHECK_THAT(refused, ContainsSubstring("HTTP/1.1 429 "));
  CHECK_THAT(refused, ContainsSubstring("Retry-After: 1"));
  server.engine->n_waiting = 2;
  CHECK_THAT(server.ask(kPlain), ContainsSubstring("HTTP/1.1 200 "));
  CHECK_THAT(server.ask(R"({"prompt":"x","n":2})"), ContainsSubstring("HTTP/1.1 429 "));
  CHECK_THAT(server.ask(R"({"prompt":"x","n":4})"), ContainsSubstring("HTTP/1.1 400 "));
}

TEST_CASE("the engine is asked for what the request says") {
  ServiceOptions options = named();
  options.sparse = SparseRule::parse("threshold=0.01");
  const Server server(engine_with({{"one"}, std::nullopt, false, false}), options,
                      {ChatTemplate::load("none"), Json::object(), {}});
  const auto last = [&](const std::string& body, const char* path = kCompletions) {
    const std::string answer = server.ask(body, path);
    INFO(answer);
    REQUIRE(answer.starts_with("HTTP/1.1 200 "));
    return server.engine->submitted().back();
  };
  CHECK(last(R"({"prompt":[7,8]})").max_new_tokens == 16);
  CHECK(last(R"({"prompt":[7,8]})").prompt == std::vector<int32_t>{7, 8});
  CHECK(last(R"({"prompt":[7,8]})").sparse == options.sparse);
  CHECK(last(R"({"prompt":[7,8],"sparse":"dense"})").sparse == SparseRule{});
  CHECK(last(R"({"prompt":[7],"max_tokens":999})").max_new_tokens == 999);
  CHECK(last(R"({"prompt":"x","stop":"s","ignore_eos":true})").stop == std::vector<std::string>{"s"});
  CHECK(last(R"({"prompt":"x","ignore_eos":true})").ignore_eos);
  CHECK(last(R"({"prompt":"x","n":3,"seed":5})").sampling.seed == 7u);
  const GenerateRequest chat =
      last(R"({"messages":[{"role":"user","content":"x"}]})", "/v1/chat/completions");
  CHECK(chat.max_new_tokens == 1000 - static_cast<int64_t>(chat.prompt.size()));  // what the context holds
}

TEST_CASE("prompt and answer must fit the context") {
  const Server server(engine_with({{"one"}, std::nullopt, false, false}));
  const auto ids = [](size_t n) {
    std::string text = "[5";
    for (size_t i = 1; i < n; ++i) text += ",5";
    return text + "]";
  };
  CHECK_THAT(server.ask("{\"prompt\":" + ids(999) + "}"), ContainsSubstring("HTTP/1.1 200 "));
  CHECK(server.engine->submitted().back().max_new_tokens == 1);  // the default gives way
  for (const std::string& body :
       {"{\"prompt\":" + ids(1000) + "}", "{\"prompt\":" + ids(900) + ",\"max_tokens\":101}"}) {
    const std::string answer = server.ask(body);
    CHECK_THAT(answer, ContainsSubstring("\"code\":\"context_length_exceeded\""));
    CHECK_THAT(answer, ContainsSubstring("1000 tokens"));
  }
}

TEST_CASE("a chat without a template is refused with what to do") {
  const Server server(engine_with({{"one"}, std::nullopt, false, false}));  // the demo's tokenizer names none
  const std::string answer =
      server.ask(R"({"messages":[{"role":"user","content":"x"}]})", "/v1/chat/completions");
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(answer, ContainsSubstring("--chat-template"));
}

TEST_CASE("roles that the template does not take are refused by the template's reason") {
  const Server server(engine_with({{"one"}, std::nullopt, false, false}), named(),
                      {ChatTemplate::load("llama2"), Json::object(), {}});
  const char* path = "/v1/chat/completions";
  CHECK_THAT(server.ask(R"({"messages":[{"role":"user","content":"x"}]})", path), ContainsSubstring(" 200 "));
  const std::string answer =
      server.ask(R"({"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]})", path);
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(answer, ContainsSubstring("\"param\":\"messages\""));
}

TEST_CASE("sampling the engine refuses is a bad request") {
  const Server server(engine_with({{"one"}, std::nullopt, false, false}));
  const std::string answer = server.ask(R"({"prompt":"x","top_p":-1})");
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(answer, ContainsSubstring("top_p"));
}

}  // namespace
}  // namespace seer::serve
