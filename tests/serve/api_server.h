// The API on a port of its own, over an engine that does as a test's script says.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/serve/fake_engine.h"
#include "tests/serve/raw_client.h"
#include "tools/seer/serve/service.h"

namespace seer::serve::testing {

inline ServiceOptions named() {
  ServiceOptions options;
  options.model_name = "m";
  return options;
}

// Returns a chat model that joins messages as plain text.
inline ChatModel plain(AnswerFormat format = {}) {
  return {ChatTemplate::load("none"), Json::object(), format};
}

struct ApiServer {
  explicit ApiServer(std::shared_ptr<FakeEngine> fake, ServiceOptions options = named(), ChatModel chat = {},
                     const std::string& api_key = "")
      : engine(std::move(fake)),
        service(std::move(options)),
        http(any_port(api_key), service.routes(), [this](const Finished& f) { last_status = f.status; }) {
    if (engine) service.set_engine(engine, std::move(chat));
    http.start();
  }
  ~ApiServer() {
    service.stop();
    http.stop_accepting();
    service.abort();
    http.join(true);
  }

  static HttpOptions any_port(const std::string& api_key) {
    HttpOptions options;
    options.port = 0;
    options.access.api_key = api_key;
    return options;
  }
  std::string ask(const std::string& body, const std::string& path = "/v1/completions") const {
    RawClient client(http.url());
    client.send(post(path, body, "Connection: close\r\n"));
    return client.read_to_end();
  }

  std::shared_ptr<FakeEngine> engine;
  std::atomic<int> last_status{0};
  Service service;
  HttpServer http;
};

// Waits for another thread's work, for at most a minute in case the machine is very slow.
template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

inline std::shared_ptr<FakeEngine> engine_with(Script script) {
  return std::make_shared<FakeEngine>(std::move(script));
}

}  // namespace seer::serve::testing
