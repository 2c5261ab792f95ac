#include "tools/seer/serve/http/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "seer/error.h"
#include "tools/seer/output.h"
#include "tools/seer/serve/http/connection.h"

namespace seer::serve {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr int kBacklog = 1024;
constexpr int64_t kStandardConnections = 10'000;
constexpr int64_t kSpareConnections = 32;
constexpr int64_t kOtherFiles = 96;  // weights, logs, the listener, and a few of libraries
constexpr std::chrono::milliseconds kAcceptAgain(50);

// Raises the number of files that this process may open, as far as needed and allowed.
int64_t connections_allowed(int64_t asked) {
  const int64_t wanted = asked > 0 ? asked : kStandardConnections;
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
  const auto needed = static_cast<rlim_t>(wanted + kOtherFiles);
  if (files.rlim_cur != RLIM_INFINITY && files.rlim_cur < needed) {
    files.rlim_cur = files.rlim_max == RLIM_INFINITY ? needed : std::min(needed, files.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &files);
    ::getrlimit(RLIMIT_NOFILE, &files);
  }
  if (files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= needed) return wanted;
  const int64_t possible = std::max<int64_t>(1, static_cast<int64_t>(files.rlim_cur) - kOtherFiles);
  if (asked > 0)
    throw Error(ErrorKind::kUsage,
                "--max-connections " + std::to_string(asked) + " needs " +
                    std::to_string(wanted + kOtherFiles) + " open files, and this process may have " +
                    std::to_string(files.rlim_cur) + ": raise the limit (ulimit -n) or ask for at most " +
                    std::to_string(possible));
  return possible;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, std::vector<Route> routes, std::function<void(const Finished&)> on_finished)
      : shared_(std::move(options), std::move(routes), std::move(on_finished)) {
    shared_.on_closed = [this] { end_if_done(); };
  }

  void start();
  std::string url() const;
  void stop_accepting();
  void join(bool force);
  int64_t n_active() const { return shared_.n_active; }

 private:
  void bind();
  void accept();
  void on_accepted(const error_code& error, tcp::socket socket);
  void wait_for_signals();
  void on_signal();
  void run() noexcept;
  void go_on() noexcept;
  bool is_done() const { return shared_.stopping && shared_.open.empty(); }
  void end_if_done();

  Shared shared_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{shared_.io.get_executor()};
  tcp::acceptor acceptor_{shared_.io};
  boost::asio::steady_timer accept_again_{shared_.io};
  boost::asio::posix::stream_descriptor signals_{shared_.io};
  int64_t max_connections_ = 0;
  uint16_t port_ = 0;
  bool accepting_ = false, waiting_ = false;  // an operation is in progress
  std::atomic<bool> forced_{false};
  std::thread thread_;
};

void HttpServer::Impl::bind() {
  const HttpOptions& options = shared_.options;
  error_code error;
  tcp::resolver resolver(shared_.io);
  const auto found = resolver.resolve(options.access.host, std::to_string(options.port),
                                      tcp::resolver::passive | tcp::resolver::numeric_service, error);
  for (const auto& entry : found) {
    acceptor_.close(error);
    acceptor_.open(entry.endpoint().protocol(), error);
    if (error) continue;
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    acceptor_.bind(entry.endpoint(), error);
    if (!error) acceptor_.listen(kBacklog, error);
    if (error) continue;
    port_ = acceptor_.local_endpoint().port();
    return;
  }
  throw Error(ErrorKind::kUsage, "cannot listen on " + options.access.host + " port " +
                                     std::to_string(options.port) + ": " + error.message() +
                                     ". Choose another --host or --port (0: any free one).");
}

void HttpServer::Impl::start() {
  max_connections_ = connections_allowed(shared_.options.max_connections);
  bind();
  signals_.assign(::dup(shared_.handled.descriptor()));
  accept();
  wait_for_signals();
  thread_ = std::thread([this] { run(); });
}

// Runs the loop. An exception that reaches it means that there was no memory, and that no function below
// could handle this; the server continues.
void HttpServer::Impl::run() noexcept {
  for (;;) {
    try {
      shared_.io.run();
      return;
    } catch (const std::exception& error) {
      cli::log_error(std::string("serving goes on after an error: ") + error.what());
    }
    go_on();
  }
}

// Starts again every operation that the exception has ended.
void HttpServer::Impl::go_on() noexcept {
  try {
    if (!waiting_ && !is_done()) wait_for_signals();
    if (!accepting_ && acceptor_.is_open()) accept();
  } catch (const std::exception&) {
    std::this_thread::sleep_for(kAcceptAgain);  // run() fails again and calls this function again
    shared_.handled.wake();
  }
}

void HttpServer::Impl::accept() {
  acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
    accepting_ = false;
    on_accepted(error, std::move(socket));
  });
  accepting_ = true;
}

void HttpServer::Impl::on_accepted(const error_code& error, tcp::socket socket) {
  if (shared_.stopping || !acceptor_.is_open()) return;
  const bool full = static_cast<int64_t>(shared_.open.size()) >= max_connections_;
  if ((error || full) && !shared_.waiting.empty()) shared_.waiting.front()->close();
  if (error) {
    // There is no descriptor or no memory left, but a connection may end in the meantime.
    accept_again_.expires_after(kAcceptAgain);
    accept_again_.async_wait([this](const error_code& cancelled) {
      if (!cancelled && acceptor_.is_open()) accept();
    });
    return;
  }
  // If every connection is being answered, a few more are accepted for /health. Beyond these, the new one is
  // closed because its socket is destroyed.
  const auto n_open = static_cast<int64_t>(shared_.open.size());
  if (n_open < max_connections_ + kSpareConnections) {
    try {
      const auto place = shared_.open.insert(
          shared_.open.end(),
          std::make_shared<Connection>(&shared_, std::move(socket), n_open >= max_connections_));
      (*place)->start(place);
    } catch (const std::bad_alloc&) {
      cli::log_error("a connection was closed: no memory is left");
    }
  }
  accept();
}

void HttpServer::Impl::wait_for_signals() {
  signals_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
    waiting_ = false;
    if (error) return;
    on_signal();
    if (!is_done()) wait_for_signals();
  });
  waiting_ = true;
}

void HttpServer::Impl::on_signal() {
  while (Connection* connection = shared_.handled.pop()) connection->on_handled();
  if (!shared_.stopping) return;
  const std::vector<std::shared_ptr<Connection>> all(shared_.open.begin(), shared_.open.end());
  for (const auto& connection : all) {
    connection->stop();
    if (forced_) connection->shut_down();
  }
  end_if_done();
}

// Ends the loop if nothing is left. The last connection may end before stop_accepting()'s signal has come.
void HttpServer::Impl::end_if_done() {
  if (!shared_.stopping) return;
  error_code ignored;
  acceptor_.close(ignored);
  accept_again_.cancel();
  if (!shared_.open.empty()) return;
  guard_.reset();
  signals_.cancel(ignored);
}

std::string HttpServer::Impl::url() const {
  const std::string& host = shared_.options.access.host;
  const bool v6 = host.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port_);
}

void HttpServer::Impl::stop_accepting() {
  if (shared_.stopping.exchange(true)) return;
  shared_.handled.wake();
}

void HttpServer::Impl::join(bool force) {
  if (force) forced_ = true;
  shared_.handled.wake();
  if (thread_.joinable()) thread_.join();
  shared_.workers.shutdown();
}

HttpServer::HttpServer(HttpOptions options, std::vector<Route> routes,
                       std::function<void(const Finished&)> on_finished)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(routes), std::move(on_finished))) {}

HttpServer::~HttpServer() {
  stop_accepting();
  join(true);
}

void HttpServer::start() { impl_->start(); }
std::string HttpServer::url() const { return impl_->url(); }
void HttpServer::stop_accepting() { impl_->stop_accepting(); }
int64_t HttpServer::n_active() const { return impl_->n_active(); }
void HttpServer::join(bool force) { impl_->join(force); }

}  // namespace seer::serve
