// One request and its answer, as a handler sees them.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "tools/seer/serve/http/message.h"

namespace seer::serve {

using Clock = std::chrono::steady_clock;

// The facts about a request that are logged and counted.
struct RequestRecord {
  Clock::time_point start;      // the time of its first byte
  std::string route = "other";  // a path that exists here; any other would let clients grow the metrics
  int status = 0;               // set if it is not the status that was sent
  int64_t n_prompt = 0, n_generated = 0;  // tokens
};

// One thread at a time may use it. Between construction and finish() it alone writes to the socket.
class Exchange {
 public:
  // `fd` is a connected, non-blocking socket, which must outlive this object. `common` are the fields of
  // every answer, as head_text() takes them.
  Exchange(int fd, RequestHead head, std::string body, RequestRecord record, std::string common);

  const RequestHead& head() const { return head_; }
  size_t body_size() const { return body_.size(); }     // bytes, 0 after take_body()
  std::string take_body() { return std::move(body_); }  // call it once; the body need not be kept
  RequestRecord& record() { return record_; }

  // Returns whether the client has closed the connection; waits for nothing. A client that has closed its own
  // half only, having nothing more to say, still reads, but TCP tells the two apart only once something is
  // sent. So if an answer takes longer than a moment after that, "100 Continue" is sent, which a client skips
  // if it still reads; if it has gone, it resets the connection.
  bool client_gone();

  // Sets the whole answer, which is sent after the handler has returned.
  void answer(Response response) { response_ = std::move(response); }
  void answer_json(int status, std::string json);

  // begin_stream() sends the head of an answer whose length is not known, and write() then sends its body
  // piece by piece. Each waits until the system has taken the bytes, and throws ApiError{kClientGone} if the
  // client has gone or takes nothing for 30 seconds.
  void begin_stream(Response head);
  void write(std::string_view piece);

  // For the caller of the handler. Call fail() if the handler threw `thrown`, and finish() after it has
  // returned, which also ends a stream.
  void fail(const std::exception_ptr& thrown) noexcept;
  void abandon() noexcept;  // call it if the client has gone and no handler is called
  void finish() noexcept;

  const Response& response() const { return response_; }
  const std::string& common() const { return common_; }
  bool streamed() const { return streamed_; }  // everything has been sent
  bool broken() const { return broken_; }      // the connection cannot be used any more

 private:
  bool send_all(std::string_view bytes) noexcept;

  int fd_;
  RequestHead head_;
  std::string body_;
  RequestRecord record_;
  std::string common_;
  Response response_;
  bool streamed_ = false, broken_ = false, may_probe_;
  Clock::time_point half_closed_at_;  // the clock's epoch if the client has not closed its half
};

// Returns the answer that reports `error`.
Response refusal(const class ApiError& error);

}  // namespace seer::serve
