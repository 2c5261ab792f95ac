// HTTP: listens, reads requests, and calls a handler for each route. Knows nothing of models.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/seer/serve/http/exchange.h"
#include "tools/seer/serve/http/request_rules.h"

namespace seer::serve {

struct HttpOptions {
  AccessRules access;
  int64_t port = 8080;  // 0: any free one
  int64_t max_threads = 512;
  // Open at once. 0: 10,000, or as many as this process may have files. If one more comes, the one that has
  // waited longest for its client to send or to take something is closed.
  int64_t max_connections = 0;
  int64_t max_body_size = int64_t{32} << 20;       // bytes
  std::chrono::milliseconds idle_timeout{60'000};  // for the next request to begin
  std::chrono::milliseconds head_timeout{30'000};  // for a request's head to arrive, from its first byte on
  std::chrono::milliseconds body_timeout{60'000};  // for a request's body to arrive
};

struct Finished {
  std::string method, path;  // as they were sent; empty: its head did not arrive
  const RequestRecord& record;
  int status;
  double seconds;
};

class HttpServer {
 public:
  // `on_finished` is called on the thread that does all input and output, so it must not wait for anything.
  HttpServer(HttpOptions options, std::vector<Route> routes,
             std::function<void(const Finished&)> on_finished);
  ~HttpServer();  // stops
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds and begins to answer, on threads of its own. Throws seer::Error{kUsage} if host and port cannot be
  // had, or this process may not have max_connections files.
  void start();
  std::string url() const;  // "http://127.0.0.1:8080", after start()

  // No new connections and no further requests on old ones. Requests under way go on.
  void stop_accepting();
  int64_t n_active() const;  // requests under way
  // Waits for what is under way, or with `force` breaks it off, and ends the threads. stop_accepting() comes
  // first.
  void join(bool force);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer::serve
