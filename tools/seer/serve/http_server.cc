#include "tools/seer/serve/http_server.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "seer/error.h"
#include "tools/seer/format.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/worker_threads.h"

namespace seer::serve {
namespace {

constexpr std::chrono::milliseconds kKeepAlive(5'000);
constexpr int kBacklog =
    1024;  // httplib's 5 makes the kernel drop most of a burst, which clients retry after seconds

void send_error(httplib::Response& response, const ApiError& error) {
  send_json(response, error.status(), cli::to_text(error.to_json()));
  if (error.status() == kTooManyRequests || error.status() == kUnavailable)
    response.set_header("Retry-After", "1");
  if (error.status() == kUnauthorized) response.set_header("WWW-Authenticate", "Bearer");
}

bool has_body(const httplib::Request& request) {
  if (request.has_header("Transfer-Encoding")) return true;
  return request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0";
}

bool matches(const Route& route, const std::string& path) {
  if (route.path.ends_with('/')) return path.size() > route.path.size() && path.starts_with(route.path);
  return path == route.path || path == route.path + '/';
}

class Active {
 public:
  explicit Active(std::atomic<int64_t>* count) : count_(count) { ++*count_; }
  ~Active() { --*count_; }
  Active(const Active&) = delete;
  Active& operator=(const Active&) = delete;

 private:
  std::atomic<int64_t>* count_;
};

std::string effective_method(const std::string& method) { return method == "HEAD" ? "GET" : method; }

std::string message_for(int status) {
  switch (status) {
    case 414:
      return "the request's address is too long";
    case 417:
      return "the request expects what this server does not do";
    default:
      return "the request is not valid HTTP, or its headers are too long";
  }
}

}  // namespace

void send_json(httplib::Response& response, int status, const std::string& json) {
  response.status = status;
  response.set_content(json, "application/json");
}

bool equal_in_constant_time(const std::string& given, const std::string& secret) {
  unsigned char differ = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    differ |= static_cast<unsigned char>(given[i] ^ secret[secret.empty() ? 0 : i % secret.size()]);
  return differ == 0;
}

class HttpServer::Listed {
 public:
  Listed(HttpServer* server, Connection* connection) : server_(server), connection_(connection) {
    const std::lock_guard lock(server_->mutex_);
    server_->connections_.insert(connection_);
  }
  ~Listed() {
    const std::lock_guard lock(server_->mutex_);
    server_->connections_.erase(connection_);
  }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;

 private:
  HttpServer* server_;
  Connection* connection_;
};

HttpServer::HttpServer(HttpOptions options, std::vector<Route> routes,
                       std::function<void(const Finished&)> on_finished)
    : options_(std::move(options)), routes_(std::move(routes)), on_finished_(std::move(on_finished)) {
  new_task_queue = [this] { return new WorkerThreads(static_cast<size_t>(options_.max_threads)); };
  // httplib would share the port with any other program that asks for it (SO_REUSEPORT).
  set_socket_options([this](socket_t fd) {
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    listener_ = fd;
  });
  if (!options_.cors_origin.empty())
    set_default_headers({{"Access-Control-Allow-Origin", options_.cors_origin}, {"Vary", "Origin"}});
  set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    return before_routing(request, response);
  });
  Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                    const httplib::ContentReader& body) { dispatch(request, response, &body); });
  // Only what httplib refuses by itself comes here without a body.
  set_error_handler(HandlerWithResponse([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty()) send_error(response, ApiError(response.status, message_for(response.status)));
    return HandlerResponse::Handled;
  }));
  set_exception_handler([](const httplib::Request&, httplib::Response& response,
                           const std::exception_ptr& thrown) { send_error(response, api_error(thrown)); });
  set_post_routing_handler([this](const httplib::Request&, httplib::Response& response) {
    response.headers.erase("Keep-Alive");  // httplib's own numbers, which are not ours
    if (!Connection::current().unread() && !stopping_) return;
    response.headers.erase("Connection");
    response.set_header("Connection", "close");
  });
  // A body that will be refused need not be sent at all.
  set_expect_100_continue_handler([this](const httplib::Request& request, httplib::Response& response) {
    return before_routing(request, response) == HandlerResponse::Handled ? response.status : 100;
  });
  set_logger([this](const httplib::Request& request, const httplib::Response& response) {
    finished(request, response);
  });
}

HttpServer::~HttpServer() {
  stop_accepting();
  join(true);
}

void HttpServer::start() {
  listening_ = true;
  errno = 0;
  const auto port = static_cast<int>(options_.port);
  port_ = port == 0 ? bind_to_any_port(options_.host) : bind_to_port(options_.host, port) ? port : -1;
  // Once more on the same socket: the backlog is the last one asked for.
  if (port_ > 0 && ::listen(listener_, kBacklog) != 0) port_ = -1;
  if (port_ <= 0) {
    const std::string reason = errno != 0 ? std::strerror(errno) : "no such address";
    throw Error(ErrorKind::kUsage, "cannot listen on " + options_.host + " port " +
                                       std::to_string(options_.port) + ": " + reason +
                                       ". Choose another --host or --port (0: any free one).");
  }
  thread_ = std::thread([this] {
    listen_after_bind();
    listening_ = false;
  });
}

std::string HttpServer::url() const {
  const bool v6 = options_.host.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + options_.host + "]" : options_.host) + ":" + std::to_string(port_);
}

// Not by httplib's stop(), after which it breaks off streams that are about to begin. It closes the socket
// itself.
void HttpServer::stop_accepting() {
  if (stopping_.exchange(true) || !thread_.joinable()) return;
  ::shutdown(listener_, SHUT_RDWR);
}

void HttpServer::join(bool force) {
  if (force) {
    const std::lock_guard lock(mutex_);
    for (Connection* connection : connections_) connection->shut_down();
  }
  if (thread_.joinable()) thread_.join();
}

// httplib has nobody to catch what is thrown here.
bool HttpServer::process_and_close_socket(socket_t fd) {
  Connection connection(fd);
  try {
    const Listed listed(this, &connection);
    serve(connection);
    return true;
  } catch (const std::exception&) {
    return false;  // no memory to answer with: closing says so
  }
}

void HttpServer::serve(Connection& connection) {
  const auto setup = [&](httplib::Request& request) {
    connection.begin_body(has_body(request), options_.body_timeout, request.version == "HTTP/1.1");
    request.ranges.clear();  // no answer here has parts
  };
  bool going = true;
  while (going && connection.wait_for_request(kKeepAlive, stopping_)) {
    const Active active(&n_active_);
    connection.begin_request();
    bool closed = false;
    going = process_request(connection, false, closed, setup) && !closed && !stopping_;
    if (!connection.unread()) continue;
    connection.close_after_unread();
    return;
  }
}

// Everything that needs no body, refusals above all.
httplib::Server::HandlerResponse HttpServer::before_routing(const httplib::Request& request,
                                                            httplib::Response& response) {
  try {
    if (preflight(request, response)) return HandlerResponse::Handled;
    const Route& route = find_route(request.method, request.path);
    Connection::current().record().route = route.path;
    if (!route.open) check_key(request);
    if (request.method != "POST") {
      // Not by httplib's own routing, whose std::regex recurses for every character of an address.
      dispatch(request, response, nullptr);
      return HandlerResponse::Handled;
    }
    if (request.is_multipart_form_data())
      throw ApiError(kUnsupportedMedia, "expected a body of JSON, found multipart/form-data");
    const std::string length = request.get_header_value("Content-Length");
    if (!length.empty() && length.find_first_not_of("0123456789") != std::string::npos)
      throw ApiError(kBadRequest, "Content-Length is not a number");
    // Beyond 18 digits it would not fit a number, and is too large in any case.
    if (length.size() > 18 || (!length.empty() && std::stoll(length) > options_.max_body_size))
      throw ApiError(kBodyTooLarge,
                     "the body has " + length + " bytes: expected at most " +
                         std::to_string(options_.max_body_size) + " (--max-body-size)",
                     "", "body_too_large");
    return HandlerResponse::Unhandled;
  } catch (const ApiError& error) {
    send_error(response, error);
    if (error.status() == kMethodNotAllowed) {
      for (const Route& route : routes_)
        if (matches(route, request.path)) response.set_header("Allow", route.method);
    }
    return HandlerResponse::Handled;
  }
}

void HttpServer::dispatch(const httplib::Request& request, httplib::Response& response,
                          const httplib::ContentReader* body) {
  try {
    const Route& route = find_route(request.method, request.path);
    route.handler(request, body != nullptr ? read_body(request, *body) : std::string(), response);
  } catch (...) {
    response.body.clear();
    send_error(response, api_error(std::current_exception()));
  }
}

// The limit is on what comes out: httplib unpacks compressed bodies.
std::string HttpServer::read_body(const httplib::Request& request,
                                  const httplib::ContentReader& reader) const {
  std::string body;
  bool too_large = false;
  if (!has_body(request)) return body;  // httplib would wait for the connection's end
  const bool whole = reader([&](const char* bytes, size_t size) {
    too_large = body.size() + size > static_cast<size_t>(options_.max_body_size);
    if (!too_large) body.append(bytes, size);
    return !too_large;
  });
  if (too_large)
    throw ApiError(kBodyTooLarge,
                   "the body is too large: expected at most " + std::to_string(options_.max_body_size) +
                       " bytes (--max-body-size)",
                   "", "body_too_large");
  if (!whole && Connection::current().timed_out())
    throw ApiError(kRequestTimeout,
                   "the body did not arrive within " +
                       cli::human_seconds(std::chrono::duration<double>(options_.body_timeout).count()) +
                       " (--body-timeout)",
                   "", "body_timeout");
  if (!whole) throw ApiError(kBadRequest, "the body could not be read to its end", "", "incomplete_body");
  Connection::current().body_was_read();
  return body;
}

const Route& HttpServer::find_route(const std::string& method, const std::string& path) const {
  const Route* other = nullptr;
  for (const Route& route : routes_) {
    if (!matches(route, path)) continue;
    if (route.method == effective_method(method)) return route;
    other = &route;
  }
  if (other != nullptr) {
    Connection::current().record().route = other->path;
    throw ApiError(kMethodNotAllowed, method + " is not for " + path + ": expected " + other->method, "",
                   "method_not_allowed");
  }
  throw ApiError(kNotFound, "there is no " + path + " here", "", "unknown_url");
}

void HttpServer::check_key(const httplib::Request& request) const {
  if (options_.api_key.empty()) return;
  static const std::string kBearer = "bearer ";  // schemes are the same in any case
  const std::string header = request.get_header_value("Authorization");
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (header.empty())
    throw ApiError(kUnauthorized, "no API key: expected a header 'Authorization: Bearer KEY'", "",
                   "invalid_api_key");
  const bool is_bearer =
      header.size() >= kBearer.size() &&
      std::equal(kBearer.begin(), kBearer.end(), header.begin(), [&](char a, char b) { return same(b, a); });
  if (!is_bearer || !equal_in_constant_time(header.substr(kBearer.size()), options_.api_key))
    throw ApiError(kUnauthorized, "the API key is not this server's", "", "invalid_api_key");
}

bool HttpServer::preflight(const httplib::Request& request, httplib::Response& response) const {
  if (options_.cors_origin.empty() || request.method != "OPTIONS") return false;
  response.status = kNoContent;
  response.set_header("Access-Control-Allow-Methods", "GET, POST");
  // The stock JavaScript client sends headers of its own, so whatever it asks for is allowed. httplib decodes
  // "%0d%0a" in a header's value, which must not become a line of the answer.
  std::string asked = request.get_header_value("Access-Control-Request-Headers");
  const bool names = std::all_of(asked.begin(), asked.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == ',' || c == ' ';
  });
  if (asked.empty() || !names) asked = "Authorization, Content-Type";
  response.set_header("Access-Control-Allow-Headers", asked);
  response.set_header("Access-Control-Max-Age", "86400");
  return true;
}

void HttpServer::finished(const httplib::Request& request, const httplib::Response& response) {
  const RequestRecord& record = Connection::current().record();
  const double seconds = std::chrono::duration<double>(Clock::now() - record.start).count();
  on_finished_(
      {request.method, request.path, record, record.status != 0 ? record.status : response.status, seconds});
}

}  // namespace seer::serve
