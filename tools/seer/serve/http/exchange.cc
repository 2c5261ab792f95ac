#include "tools/seer/serve/http/exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "tools/seer/format.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kChunkTime(30'000);  // the client is taken for gone if it accepts nothing for this
                                            // long
constexpr milliseconds kBeforeProbe(1'000);
constexpr std::string_view kInterim = "HTTP/1.1 100 Continue\r\n\r\n";

int poll_one(int fd, short events, milliseconds timeout) {
  pollfd entry = {fd, events, 0};
  const int n = ::poll(&entry, 1, static_cast<int>(timeout.count()));
  return n > 0 ? entry.revents : 0;
}

bool wait_writable(int fd, Clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left.count() <= 0) return false;
    if (poll_one(fd, POLLOUT, left) != 0) return true;
  }
}

}  // namespace

Exchange::Exchange(int fd, RequestHead head, std::string body, RequestRecord record, std::string common)
    : fd_(fd),
      head_(std::move(head)),
      body_(std::move(body)),
      record_(std::move(record)),
      common_(std::move(common)),
      may_probe_(head_.version > 10) {}

bool Exchange::client_gone() {
  if (broken_ || (poll_one(fd_, 0, milliseconds(0)) & (POLLHUP | POLLERR | POLLNVAL)) != 0) return true;
  if ((poll_one(fd_, POLLRDHUP, milliseconds(0)) & POLLRDHUP) == 0) return false;
  const Clock::time_point now = Clock::now();
  if (half_closed_at_ == Clock::time_point()) half_closed_at_ = now;
  if (may_probe_ && now - half_closed_at_ >= kBeforeProbe) {
    const ssize_t n = ::send(fd_, kInterim.data(), kInterim.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    // If nothing could be sent, it is tried again later. If only a part was sent, the connection cannot be
    // used any more.
    may_probe_ = n < 0 && (errno == EAGAIN || errno == EINTR);
    broken_ = !may_probe_ && n != static_cast<ssize_t>(kInterim.size());
  }
  return broken_;
}

void Exchange::answer_json(int status, std::string json) {
  response_ = {status, "application/json", std::move(json), {}};
}

void Exchange::begin_stream(Response head) {
  streamed_ = true;
  may_probe_ = false;
  response_ = std::move(head);
  // HTTP/1.0 has no chunks, so the end of the connection is the end of the answer.
  if (head_.version == 10) head_.keep_alive = false;
  const Framing framing = head_.version == 10 ? Framing::kUntilClose : Framing::kChunked;
  if (!send_all(head_text(response_, framing, head_.keep_alive, common_)))
    throw ApiError(kClientGone, "the client has gone");
}

void Exchange::write(std::string_view piece) {
  if (piece.empty()) return;  // an empty chunk would end the answer
  std::string chunk;
  if (head_.version > 10) {
    std::array<char, 24> size = {};
    std::snprintf(size.data(), size.size(), "%zx\r\n", piece.size());
    chunk.append(size.data()).append(piece).append("\r\n");
    piece = chunk;
  }
  if (!send_all(piece)) throw ApiError(kClientGone, "the client has gone");
}

void Exchange::fail(const std::exception_ptr& thrown) noexcept {
  try {
    const ApiError error = api_error(thrown);
    record_.status = error.status();
    if (streamed_ || error.status() == kClientGone) {
      broken_ = true;  // there is no other way to end a half-sent answer
    } else {
      response_ = refusal(error);
    }
  } catch (...) {
    broken_ = true;  // there is no memory for an answer; closing the connection shows it
  }
}

void Exchange::abandon() noexcept {
  record_.status = kClientGone;
  broken_ = true;
}

void Exchange::finish() noexcept {
  if (streamed_ && !broken_ && head_.version > 10) send_all("0\r\n\r\n");
}

bool Exchange::send_all(std::string_view bytes) noexcept {
  Clock::time_point until = Clock::now() + kChunkTime;
  while (!broken_ && !bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      until = Clock::now() + kChunkTime;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN) || !wait_writable(fd_, until)) {
      broken_ = true;
    }
  }
  return !broken_;
}

Response refusal(const ApiError& error) {
  Response response = {error.status(), "application/json", cli::to_text(error.to_json()), {}};
  if (error.status() == kTooManyRequests || error.status() == kUnavailable)
    response.fields.push_back({"Retry-After", "1"});
  if (error.status() == kUnauthorized) response.fields.push_back({"WWW-Authenticate", "Bearer"});
  return response;
}

}  // namespace seer::serve
