// HTTP: listens, reads requests, and calls a handler for each route. Knows nothing of models.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>

#include "tools/seer/serve/connection.h"

namespace seer::serve {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8080;  // 0: any free one
  int64_t max_threads = 512;
  int64_t max_body_size = int64_t{32} << 20;       // bytes
  std::chrono::milliseconds body_timeout{60'000};  // for a request's body to arrive
  std::string api_key;                             // empty: none is asked for
  std::string cors_origin;                         // empty: no CORS headers
};

// Throws ApiError to refuse; `body` is empty but for POST.
using Handler = std::function<void(const httplib::Request& request, const std::string& body,
                                   httplib::Response& response)>;

struct Route {
  std::string method;  // "GET", which answers HEAD too, or "POST"
  std::string path;    // with or without a '/' at its end; one that has it here stands for everything below
  Handler handler;
  bool open = false;  // asks for no key
};

struct Finished {
  std::string method, path;
  const RequestRecord& record;
  int status;
  double seconds;
};

class HttpServer final : public httplib::Server {
 public:
  // `on_finished` is called on the threads of the connections.
  HttpServer(HttpOptions options, std::vector<Route> routes,
             std::function<void(const Finished&)> on_finished);
  ~HttpServer() override;  // stops

  // Binds and begins to answer, on threads of its own. Throws seer::Error{kUsage} where host and port cannot
  // be had.
  void start();
  std::string url() const;  // "http://127.0.0.1:8080", after start()

  // No new connections and no further requests on old ones. Requests under way go on.
  void stop_accepting();
  bool listening() const {
    return listening_;
  }  // false without stop_accepting(): the system refuses connections
  int64_t n_active() const { return n_active_; }  // requests under way
  // Waits for what is under way, or with `force` breaks it off, and ends the threads. stop_accepting() comes
  // first.
  void join(bool force);

 private:
  class Listed;

  bool process_and_close_socket(socket_t fd) override;
  void serve(Connection& connection);
  HandlerResponse before_routing(const httplib::Request& request, httplib::Response& response);
  void dispatch(const httplib::Request& request, httplib::Response& response,
                const httplib::ContentReader* body);
  std::string read_body(const httplib::Request& request, const httplib::ContentReader& reader) const;
  const Route& find_route(const std::string& method, const std::string& path) const;
  void check_key(const httplib::Request& request) const;
  bool preflight(const httplib::Request& request, httplib::Response& response) const;
  void finished(const httplib::Request& request, const httplib::Response& response);

  const HttpOptions options_;
  const std::vector<Route> routes_;
  const std::function<void(const Finished&)> on_finished_;
  int listener_ = -1, port_ = 0;
  std::atomic<bool> stopping_{false}, listening_{false};
  std::atomic<int64_t> n_active_{0};
  std::mutex mutex_;
  std::set<Connection*> connections_;
  std::thread thread_;
};

// Sets the whole answer.
void send_json(httplib::Response& response, int status, const std::string& json);

// Takes as long for a wrong text as for the right one of that length.
bool equal_in_constant_time(const std::string& given, const std::string& secret);

}  // namespace seer::serve
