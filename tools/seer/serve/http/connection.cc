#include "tools/seer/serve/http/connection.h"

#include <boost/asio/buffer.hpp>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <exception>
#include <utility>

#include "tools/seer/format.h"

namespace seer::serve {
namespace {

using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kWriteTime(30'000);  // the client is taken for gone if it accepts nothing for this
                                            // long
constexpr milliseconds kLingerTime(2'000);
constexpr size_t kInputBytes = size_t{64} << 10;
constexpr int kSendBytes = 128 << 10;
constexpr milliseconds kStopTime(1'000);
constexpr milliseconds kLookTime(1'000);  // between two checks of the client of a waiting request
constexpr size_t kMaxLingerBytes = size_t{16} << 20;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
// All bodies in memory may together have this many times the size of the largest one allowed.
constexpr int64_t kBodiesHeld = 16;

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

std::string seconds_text(milliseconds time) {
  return cli::human_seconds(std::chrono::duration<double>(time).count());
}

}  // namespace

Shared::Shared(HttpOptions o, std::vector<Route> routes, std::function<void(const Finished&)> finished)
    : options(std::move(o)),
      rules(options.access, std::move(routes)),
      on_finished(std::move(finished)),
      input(kInputBytes),
      workers(static_cast<size_t>(options.max_threads)) {}

Connection::Connection(Shared* shared, boost::asio::ip::tcp::socket socket, bool spare)
    : shared_(shared),
      socket_(std::move(socket)),
      timer_(shared->io),
      reader_(shared->options.max_body_size),
      spare_(spare) {
  const int fd = socket_.native_handle();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);  // tokens are small writes, and clients wait for them
  // The kernel reports a socket as writable when a third of its buffer is free. With the megabytes that the
  // kernel would choose itself, a slow client would seem to accept nothing for half a minute.
  set_option(fd, SOL_SOCKET, SO_SNDBUF, kSendBytes);
  // If a client's machine vanishes while an answer is computed, that is noticed after a minute.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Connection::~Connection() {
  if (active_) --shared_->n_active;
  shared_->n_body_bytes -= n_body_bytes_;
}

// Runs `action`. An error in it, above all for lack of memory, ends this connection and no other.
template <typename Action>
void Connection::guarded(const Action& action) noexcept {
  try {
    action();
  } catch (const std::exception&) {
    close();
  }
}

// Runs `action`, which reads. A refusal while reading is answered, and then the connection ends.
template <typename Action>
void Connection::reading(const Action& action) {
  try {
    action();
  } catch (const ApiError& refused) {
    refuse(refused);
  }
}

void Connection::start(std::list<std::shared_ptr<Connection>>::iterator place) {
  place_ = place;
  guarded([&] {
    socket_.non_blocking(true);
    enter(Phase::kIdle, shared_->options.idle_timeout);
    wait_for_input();
  });
}

void Connection::stop() {
  if (phase_ == Phase::kIdle) {
    close();
  } else if (phase_ == Phase::kHead) {
    guarded([&] { set_deadline(kStopTime); });
  }
}

void Connection::shut_down() noexcept {
  error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  if (phase_ != Phase::kHandler) close();
}

void Connection::leave_waiting() {
  if (is_waiting_) shared_->waiting.erase(waiting_place_);
  is_waiting_ = false;
}

// Enters a phase, which may take `time`.
void Connection::enter(Phase phase, milliseconds time) {
  phase_ = phase;
  leave_waiting();
  if (phase == Phase::kHandler) return;  // a handler has no time limit here
  waiting_place_ = shared_->waiting.insert(shared_->waiting.end(), this);
  is_waiting_ = true;
  set_deadline(time);
}

void Connection::set_deadline(milliseconds time) {
  deadline_ = Clock::now() + time;
  if (!timing_) {
    arm_timer();
  } else if (timer_.expiry() > deadline_) {
    timer_.cancel();  // its handler starts it again
  }
}

// Waits for the deadline. There is only one wait at a time: it is not changed with every phase, but reads the
// deadline when it wakes.
void Connection::arm_timer() {
  timing_ = true;
  timer_.expires_at(deadline_);
  timer_.async_wait([self = shared_from_this()](const error_code&) {
    self->timing_ = false;
    if (self->phase_ == Phase::kHandler) return self->look_at_queue();
    if (self->phase_ == Phase::kClosed) return;
    self->guarded([&] {
      if (Clock::now() >= self->deadline_) {
        self->on_timeout();
      } else {
        self->arm_timer();
      }
    });
  });
}

void Connection::on_timeout() {
  const HttpOptions& options = shared_->options;
  if (phase_ == Phase::kHead) {
    refuse(ApiError(kRequestTimeout,
                    "the request's head did not arrive within " + seconds_text(options.head_timeout), "",
                    "head_timeout"));
  } else if (phase_ == Phase::kBody) {
    refuse(
        ApiError(kRequestTimeout,
                 "the body did not arrive within " + seconds_text(options.body_timeout) + " (--body-timeout)",
                 "", "body_timeout"));
  } else {
    close();
  }
}

void Connection::wait_for_input() {
  if (reading_) return;
  reading_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](const error_code& error) {
                       self->reading_ = false;
                       if (!error) self->guarded([&] { self->on_input(); });
                     });
}

void Connection::on_input() {
  if (!takes_requests() && phase_ != Phase::kLinger) return;  // the wait began in an earlier phase
  error_code error;
  const size_t n = socket_.read_some(boost::asio::buffer(shared_->input), error);
  if (error == boost::asio::error::would_block || error == boost::asio::error::interrupted) {
    wait_for_input();
  } else if (error == boost::asio::error::eof) {
    on_end_of_input();
  } else if (error) {
    close();
  } else if (phase_ == Phase::kLinger) {
    n_sent_ += n;
    if (n_sent_ > kMaxLingerBytes) return close();
    wait_for_input();
  } else {
    const bool was_idle = phase_ == Phase::kIdle;
    if (was_idle) begin_request();
    reading([&] {
      reader_.feed({shared_->input.data(), n});
      if (!was_idle || reader_.begun()) return read_on();
      wait_for_request();  // they were empty lines
    });
  }
}

void Connection::on_end_of_input() {
  if (phase_ == Phase::kBody)
    return refuse(ApiError(kBadRequest, "the body ended before its announced end", "", "incomplete_body"));
  if (phase_ == Phase::kHead)
    return refuse(ApiError(kBadRequest, "not valid HTTP: the head ended before its end", "", "invalid_http"));
  close();
}

void Connection::begin_request() {
  active_ = true;
  ++shared_->n_active;
  record_ = RequestRecord();
  record_.start = Clock::now();
  method_.clear();
  path_.clear();
  route_ = nullptr;
  keep_alive_ = true;
  enter(Phase::kHead, shared_->options.head_timeout);
}

// Reads on. Throws ApiError.
void Connection::read_on() {
  if (reader_.state() == RequestReader::State::kHeadRead) on_head();
  if (!takes_requests()) return;  // the request has been refused
  account();
  check_room();
  if (reader_.state() == RequestReader::State::kDone) {
    dispatch();
  } else {
    wait_for_input();
  }
}

void Connection::on_head() {
  const RequestHead& head = reader_.head();
  method_ = head.method;
  path_ = head.shown_path;
  keep_alive_ = head.keep_alive;
  Admission admission = shared_->rules.admit(head);
  if (admission.route != nullptr) record_.route = admission.route->path;
  if (admission.refusal) return refuse_admission(admission);
  if (spare_ && (admission.route == nullptr || !admission.route->urgent))
    throw ApiError(kUnavailable, "too many connections: try again later", "", "too_many_connections");
  route_ = admission.route;
  if (head.has_body) enter(Phase::kBody, shared_->options.body_timeout);
  reader_.begin_body();
  if (head.count("expect") == 0 || head.version == 10 || reader_.state() == RequestReader::State::kDone)
    return;
  // If the client does not receive this, it sends its body after a moment.
  error_code ignored;
  socket_.write_some(boost::asio::buffer(kContinue), ignored);
}

void Connection::account() {
  const auto held = static_cast<int64_t>(reader_.held_bytes() + output_.capacity());
  shared_->n_body_bytes += held - n_body_bytes_;
  n_body_bytes_ = held;
}

// Throws ApiError if all clients together have sent more than the server has room for, or have not accepted
// as much of their answers. Small requests are accepted even then, because the number of connections is
// limited too.
void Connection::check_room() const {
  const bool small = n_body_bytes_ <= static_cast<int64_t>(2 * kInputBytes);
  if (!small && shared_->n_body_bytes > kBodiesHeld * shared_->options.max_body_size)
    throw ApiError(kUnavailable, "the requests under way are too large together: try again later", "",
                   "too_many_bytes");
}

// Sends a refusal and ends the connection. After an error in reading there is no next request, and the rest
// of an unfinished body would be taken for one.
void Connection::refuse(const ApiError& error) {
  if (!active_) return close();
  const std::string common =
      reader_.state() == RequestReader::State::kHead ? "" : shared_->rules.cors_fields(reader_.head());
  respond(refusal(error), false, common);
}

// Sends a refusal after the head was read. A request without a body has been read to its end, so its
// connection may continue.
void Connection::refuse_admission(const Admission& admission) {
  Response response = refusal(*admission.refusal);
  if (!admission.allow.empty()) response.fields.push_back({"Allow", admission.allow});
  const bool whole = !reader_.head().has_body;
  if (whole) reader_.begin_body();
  respond(response, keep_alive_ && whole, shared_->rules.cors_fields(reader_.head()));
}

void Connection::dispatch() {
  const std::string common = shared_->rules.cors_fields(reader_.head());
  if (route_ == nullptr) {
    respond(shared_->rules.preflight_response(reader_.head()), keep_alive_, common);
    return;
  }
  enter(Phase::kHandler, milliseconds(0));
  exchange_ = std::make_unique<Exchange>(socket_.native_handle(), reader_.head(), std::move(reader_.body()),
                                         record_, common);
  if (route_->open) {
    handle();
    return on_handled();
  }
  try {
    queued_ = shared_->workers.enqueue(this, [this] {
      handle();
      shared_->handled.push(this);
    });
    if (queued_) watch_queue();
  } catch (const std::exception&) {
    exchange_->fail(std::make_exception_ptr(
        ApiError(kUnavailable, "the system starts no further thread: try again later", "", "no_thread")));
    on_handled();
  }
}

void Connection::handle() {
  try {
    // The request may have waited for a thread.
    if (exchange_->client_gone()) throw ApiError(kClientGone, "the client has gone");
    route_->handler(*exchange_);
  } catch (...) {
    exchange_->fail(std::current_exception());
  }
  exchange_->finish();
}

void Connection::watch_queue() noexcept {
  try {
    set_deadline(kLookTime);
  } catch (const std::exception&) {
    queued_ = false;  // without memory for a timer, the client is not checked
  }
}

// Checks the client of a request that waits for a thread. Such a request holds a descriptor and its body,
// perhaps for a long time; both are released if the client has gone. It takes up to three checks to tell a
// client that has closed from one that only has nothing more to send (Exchange::client_gone).
void Connection::look_at_queue() noexcept {
  if (!queued_) return;
  switch (shared_->workers.look_at(this, [this] { return exchange_->client_gone(); })) {
    case WorkerThreads::Place::kBegun:
      queued_ = false;  // from now on its handler checks the client
      break;
    case WorkerThreads::Place::kWaits:
      watch_queue();
      break;
    case WorkerThreads::Place::kTaken:
      exchange_->abandon();
      on_handled();
      break;
  }
}

void Connection::on_handled() {
  queued_ = false;
  const std::unique_ptr<Exchange> exchange = std::move(exchange_);
  guarded([&] {
    record_ = exchange->record();
    keep_alive_ = exchange->head().keep_alive;
    if (!exchange->streamed() && !exchange->broken())
      return respond(exchange->response(), keep_alive_, exchange->common());
    finish_request(exchange->response().status);
    if (exchange->broken()) return close();
    after_answer();
  });
}

void Connection::respond(const Response& response, bool keep_alive, const std::string& common) {
  keep_alive_ = keep_alive && !shared_->stopping;
  output_ = head_text(response, Framing::kLength, keep_alive_, common);
  if (method_ != "HEAD") output_ += response.body;
  account();
  n_sent_ = 0;
  finish_request(response.status);
  enter(Phase::kWrite, kWriteTime);
  write_on();
}

void Connection::write_on() {
  const auto rest = boost::asio::buffer(output_.data() + n_sent_, output_.size() - n_sent_);
  socket_.async_write_some(rest, [self = shared_from_this()](const error_code& error, size_t n) {
    if (self->phase_ != Phase::kWrite) return;
    self->guarded([&] {
      if (error) return self->close();
      self->n_sent_ += n;
      if (self->n_sent_ == self->output_.size()) return self->after_answer();
      self->set_deadline(kWriteTime);
      self->write_on();
    });
  });
}

void Connection::finish_request(int status) {
  if (!active_) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - record_.start).count();
  shared_->on_finished({method_, path_, record_, record_.status != 0 ? record_.status : status, seconds});
}

void Connection::end_request() {
  if (active_) --shared_->n_active;
  active_ = false;
}

void Connection::after_answer() {
  end_request();
  output_ = std::string();
  if (!keep_alive_ || shared_->stopping) return linger();
  if (reader_.has_unread()) begin_request();  // the next request has come already
  reading([&] {
    reader_.next_request();
    account();
    if (reader_.begun()) return read_on();
    wait_for_request();  // they were empty lines
  });
}

void Connection::wait_for_request() {
  end_request();
  enter(Phase::kIdle, shared_->options.idle_timeout);
  wait_for_input();
}

// Ends sending, and waits a moment for the client to do the same. A close() with unread bytes would reset the
// connection, and the reset would overtake the answer.
void Connection::linger() {
  error_code error;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, error);
  if (error) return close();
  n_sent_ = 0;
  enter(Phase::kLinger, kLingerTime);
  wait_for_input();
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  const std::shared_ptr<Connection> self = shared_from_this();
  phase_ = Phase::kClosed;
  leave_waiting();
  error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  shared_->open.erase(place_);
  shared_->on_closed();
}

}  // namespace seer::serve
