// A large chat, from its body to the end of its answer, while memory runs out. The client gets an error or
// nothing, the program continues, and the next request is answered as always.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <new>
#include <string>
#include <thread>

#include "seer/engine.h"
#include "tests/fault/allocations.h"
#include "tests/fault/byte_model.h"
#include "tests/fault/sweep.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/service.h"

namespace seer::serve {
namespace {

// A connection; `fd` is the server's end.
class Connected {
 public:
  Connected() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()) == 0); }
  ~Connected() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;

  int fd() const { return ends_[0]; }
  std::string received() const {
    std::string all;
    std::array<char, 4096> some = {};
    for (ssize_t n = 0; (n = ::read(ends_[1], some.data(), some.size())) > 0;)
      all.append(some.data(), static_cast<size_t>(n));
    return all;
  }

 private:
  std::array<int, 2> ends_ = {};
};

// A request with few tokens and many values, at every place that may have values.
std::string large_chat(bool stream) {
  Json values = Json::array();
  for (int i = 0; i < 200; ++i)
    values.push_back({{"name", "a text that is longer than a string's own room"}, {"x", {i, {{"y", 0.5}}}}});
  const Json call = {{"id", "c"},
                     {"type", "function"},
                     {"function", {{"name", "f"}, {"arguments", Json{{"values", values}}.dump()}}}};
  Json messages = Json::array();
  messages.push_back({{"role", "user"}, {"content", "hello"}});
  messages.push_back({{"role", "assistant"}, {"content", "x"}, {"tool_calls", {call, call}}});
  messages.push_back({{"role", "user"}, {"content", {{{"type", "text"}, {"text", "bye"}}}}});
  const Json body = {{"messages", messages}, {"chat_template_kwargs", {{"values", values}}},
                     {"documents", values},  {"logprobs", true},
                     {"max_tokens", 2},      {"temperature", 0},
                     {"stream", stream}};
  return body.dump();
}

// Answers one request as a connection's thread does. Throws std::bad_alloc if there is no answer or it is an
// error. Sets `wrong` if that error blames the client.
void answer(const Route& route, const std::string& body, int fd, bool* wrong) {
  Exchange exchange(fd, RequestHead(), body, RequestRecord(), "");
  try {
    route.handler(exchange);
  } catch (...) {
    exchange.fail(std::current_exception());
  }
  exchange.finish();
  if (!exchange.broken() && exchange.record().status == 0 && exchange.response().status == kOk) return;
  *wrong = !exchange.broken() && !exchange.streamed() && exchange.response().status < kServerError;
  throw std::bad_alloc();
}

// Waits for the engine to be idle. A cancelled generation ends soon.
bool becomes_idle(const Engine& engine) {
  for (int i = 0; i < 6000; ++i) {
    const EngineStats stats = engine.stats();
    if (stats.pages_used + stats.n_running + stats.n_waiting == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST_CASE("a large chat ends cleanly wherever memory runs out, and the next is answered as ever") {
  const bool stream = GENERATE(false, true);
  const testing::ByteModel model;
  const std::shared_ptr<Engine> engine = Engine::load(model.options(512));
  ServiceOptions options;
  options.model_name = "m";
  Service service(options);
  service.set_engine(engine, {ChatTemplate::load("none"), Json::object(), {}});
  Route route;
  for (const Route& one : service.routes())
    if (one.path == "/v1/chat/completions") route = one;
  const std::string body = large_chat(stream);
  const Connected client;
  bool wrong = false;
  testing::sweep(
      stream ? "streamed chat" : "chat", 150, [] {}, [&] { answer(route, body, client.fd(), &wrong); },
      [&] {
        client.received();
        CHECK(becomes_idle(*engine));
        CHECK_FALSE(wrong);
        CHECK_NOTHROW(answer(route, body, client.fd(), &wrong));
        CHECK(client.received().empty() == !stream);
      });
}

}  // namespace
}  // namespace seer::serve
