// One client's connection, on the thread that does all input and output. It waits for requests, reads them,
// hands them to a handler, and sends the handler's answer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/seer/serve/http/exchange.h"
#include "tools/seer/serve/http/handled_queue.h"
#include "tools/seer/serve/http/http_server.h"
#include "tools/seer/serve/http/request_reader.h"
#include "tools/seer/serve/http/request_rules.h"
#include "tools/seer/serve/http/worker_threads.h"

namespace seer::serve {

class Connection;

// The state that the connections of one server share. Only the I/O thread uses it, except for the members
// marked "for all threads".
struct Shared {
  Shared(HttpOptions o, std::vector<Route> routes, std::function<void(const Finished&)> finished);

  const HttpOptions options;
  const RequestRules rules;
  const std::function<void(const Finished&)> on_finished;
  boost::asio::io_context io{1};
  HandledQueue handled;               // for all threads
  std::atomic<int64_t> n_active{0};   // for all threads
  std::atomic<bool> stopping{false};  // for all threads

  std::list<std::shared_ptr<Connection>> open;
  // The connections that wait for their client, in the order in which that began. If there are too many
  // connections, the first one is closed.
  std::list<Connection*> waiting;
  int64_t n_body_bytes = 0;  // held by all connections for bodies that are arriving or being answered
  std::vector<char> input;   // a buffer for reading; a waiting connection holds none
  std::function<void()> on_closed;
  WorkerThreads workers;  // for all threads; it is the last member because its threads use the others
};

// A connection belongs to Shared::open until it is closed. It is not closed while a handler runs.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // `spare`: the connection is beyond the limit, and takes requests for urgent routes only.
  Connection(Shared* shared, boost::asio::ip::tcp::socket socket, bool spare);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `place` is the iterator in Shared::open that holds this connection.
  void start(std::list<std::shared_ptr<Connection>>::iterator place);
  // Takes no further request: closes the connection if it is idle. A request whose head is arriving gets
  // another second.
  void stop();
  void shut_down() noexcept;  // ends every read and write, a handler's too
  void on_handled();          // call it after the handler has returned
  void close();               // do not call it while a handler runs

  Connection* next_handled = nullptr;  // for HandledQueue

 private:
  // The event that the connection waits for. In every phase but kHandler that is the client.
  enum class Phase { kIdle, kHead, kBody, kHandler, kWrite, kLinger, kClosed };

  bool takes_requests() const {
    return phase_ == Phase::kIdle || phase_ == Phase::kHead || phase_ == Phase::kBody;
  }
  void enter(Phase phase, std::chrono::milliseconds time);
  void leave_waiting();
  void set_deadline(std::chrono::milliseconds time);
  void arm_timer();
  void on_timeout();
  void wait_for_input();
  void on_input();
  void on_end_of_input();
  void read_on();
  void on_head();
  void begin_request();
  void account();
  void check_room() const;
  void refuse(const ApiError& error);
  void refuse_admission(const Admission& admission);
  void dispatch();
  void handle();  // runs on a thread of `workers`, or at once for an open route
  void watch_queue() noexcept;
  void look_at_queue() noexcept;
  void respond(const Response& response, bool keep_alive, const std::string& common);
  void write_on();
  void finish_request(int status);
  void end_request();
  void after_answer();
  void wait_for_request();
  void linger();
  template <typename Action>
  void guarded(const Action& action) noexcept;
  template <typename Action>
  void reading(const Action& action);

  Shared* shared_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  RequestReader reader_;
  Phase phase_ = Phase::kIdle;
  Clock::time_point deadline_;
  bool reading_ = false, timing_ = false;  // an operation is in progress
  bool active_ = false;                    // a request is in progress
  bool queued_ = false;  // the request may be waiting for a thread, and its client is watched
  const bool spare_;
  bool keep_alive_ = true;
  const Route* route_ = nullptr;
  std::string method_, path_;  // of the current request, as they were sent, for its record
  RequestRecord record_;
  std::unique_ptr<Exchange> exchange_;  // while a handler answers
  std::string output_;
  size_t n_sent_ = 0;
  int64_t n_body_bytes_ = 0;  // this connection's part of Shared's
  std::list<std::shared_ptr<Connection>>::iterator place_;
  std::list<Connection*>::iterator waiting_place_;
  bool is_waiting_ = false;  // Shared::waiting holds this at waiting_place_
};

}  // namespace seer::serve
