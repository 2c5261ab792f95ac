#include "tools/seer/serve/connection.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace seer::serve {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxHeaderBytes = size_t{64}
                                   << 10;    // of a whole request: httplib bounds a line, not their number
constexpr milliseconds kHeaderTime(30'000);  // a client that dribbles holds a thread no longer than this
constexpr milliseconds kWriteTime(30'000);   // a client that reads nothing for this long is gone
constexpr milliseconds kLingerTime(2'000);
constexpr milliseconds kBeforeProbe(1'000);
constexpr std::string_view kInterim = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr milliseconds kSlice(100);  // how soon an idle connection notices that the server stops

thread_local Connection* t_current = nullptr;

int poll_one(int fd, short events, milliseconds timeout) {
  pollfd entry = {fd, events, 0};
  const int n = ::poll(&entry, 1, static_cast<int>(timeout.count()));
  return n > 0 ? entry.revents : 0;
}

void address(int fd, int (*get)(int, sockaddr*, socklen_t*), std::string* ip, int* port) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  *port = -1;
  if (get(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return;
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    *port = ntohs(in->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
    *port = ntohs(in->sin6_port);
  }
  *ip = text;
}

}  // namespace

Connection::Connection(int fd) : fd_(fd) {
  // Tokens are small writes that somebody waits for.
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  t_current = this;
}

Connection::~Connection() {
  t_current = nullptr;
  ::close(fd_);
}

Connection& Connection::current() {
  assert(t_current != nullptr);
  return *t_current;
}

bool Connection::wait_for_request(milliseconds idle, const std::atomic<bool>& stopping) {
  const Clock::time_point until = Clock::now() + idle;
  for (;;) {
    if (begin_ < end_) return true;
    if (poll_one(fd_, POLLIN, milliseconds(0)) != 0) {
      char byte = 0;
      return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    }
    if (stopping || Clock::now() >= until) return false;
    poll_one(fd_, POLLIN, kSlice);
  }
}

void Connection::begin_request() {
  record_ = RequestRecord();
  record_.start = Clock::now();
  deadline_ = record_.start + kHeaderTime;
  header_bytes_ = 0;
  in_headers_ = true;
  timed_out_ = false;
  unread_ = true;  // as long as they have not been understood
}

void Connection::begin_body(bool there_is_one, milliseconds time, bool interim) {
  in_headers_ = false;
  unread_ = there_is_one;
  deadline_ = Clock::now() + time;
  may_probe_ = interim;
  half_closed_at_ = {};
}

bool Connection::client_gone() {
  if (reset_or_closed()) return true;
  if ((poll_one(fd_, POLLRDHUP, milliseconds(0)) & POLLRDHUP) == 0) return false;
  const Clock::time_point now = Clock::now();
  if (half_closed_at_ == Clock::time_point()) half_closed_at_ = now;
  if (may_probe_ && now - half_closed_at_ >= kBeforeProbe) write(kInterim.data(), kInterim.size());
  return false;
}

bool Connection::reset_or_closed() const {
  return (poll_one(fd_, 0, milliseconds(0)) & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void Connection::shut_down() noexcept { ::shutdown(fd_, SHUT_RDWR); }

// A close() with unread bytes resets the connection, and the reset overtakes the answer.
void Connection::close_after_unread() noexcept {
  ::shutdown(fd_, SHUT_WR);
  const Clock::time_point until = Clock::now() + kLingerTime;
  while (wait(POLLIN, until) && ::recv(fd_, buffer_.data(), buffer_.size(), 0) > 0) {
  }
}

bool Connection::wait(short events, Clock::time_point until) const {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0) return false;
    if (poll_one(fd_, events, left) != 0) return true;
  }
}

bool Connection::is_readable() const { return begin_ < end_ || poll_one(fd_, POLLIN, milliseconds(0)) != 0; }

bool Connection::is_writable() const {
  return !reset_or_closed() && wait(POLLOUT, Clock::now() + kWriteTime);
}

ssize_t Connection::read(char* bytes, size_t size) {
  if (begin_ == end_) {
    if (!wait(POLLIN, deadline_)) {
      timed_out_ = true;
      return -1;
    }
    ssize_t n = 0;
    do {
      n = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) return n;
    begin_ = 0;
    end_ = static_cast<size_t>(n);
  }
  const size_t n = std::min(size, end_ - begin_);
  if (in_headers_) {
    header_bytes_ += n;
    if (header_bytes_ > kMaxHeaderBytes) return -1;
  }
  std::memcpy(bytes, buffer_.data() + begin_, n);
  begin_ += n;
  return static_cast<ssize_t>(n);
}

ssize_t Connection::write(const char* bytes, size_t size) {
  may_probe_ = false;
  const Clock::time_point until = Clock::now() + kWriteTime;
  for (;;) {
    const ssize_t n = ::send(fd_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0 || (errno != EINTR && errno != EAGAIN)) return n;
    if (!wait(POLLOUT, until)) return -1;
  }
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  address(fd_, ::getpeername, &ip, &port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  address(fd_, ::getsockname, &ip, &port);
}

}  // namespace seer::serve
