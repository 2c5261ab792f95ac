// An HTTP server: it listens, reads requests, and calls a handler for each route. It knows nothing of models.
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
  int64_t port = 8080;  // 0: any free port
  int64_t max_threads = 512;
  // The limit of open connections. 0: 10,000, or the number of files that this process may open, if that is
  // smaller. If one more comes, the connection that has waited longest for its client to send or to take
  // something is closed.
  int64_t max_connections = 0;
  int64_t max_body_size = int64_t{32} << 20;       // bytes
  std::chrono::milliseconds idle_timeout{60'000};  // for the next request to begin
  std::chrono::milliseconds head_timeout{30'000};  // for a request's head to arrive, from its first byte on
  std::chrono::milliseconds body_timeout{60'000};  // for a request's body to arrive
};

struct Finished {
  std::string method, path;  // as sent; empty if the head did not arrive
  const RequestRecord& record;
  int status;
  double seconds;
};

class HttpServer {
 public:
  // `on_finished` is called on the thread that does all input and output, so it must not wait for anything.
  HttpServer(HttpOptions options, std::vector<Route> routes,
             std::function<void(const Finished&)> on_finished);
  ~HttpServer();  // stops the server
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds, and begins to answer on threads of its own. Throws seer::Error{kUsage} if it cannot listen on host
  // and port, or if this process may not open max_connections files.
  void start();
  std::string url() const;  // "http://127.0.0.1:8080", after start()

  // Takes no new connections and no further requests on old ones. Requests in progress continue.
  void stop_accepting();
  int64_t n_active() const;  // requests in progress
  // Waits for the requests in progress, or breaks them off with `force`, and ends the threads. Call
  // stop_accepting() first.
  void join(bool force);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer::serve
