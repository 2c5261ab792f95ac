// One request and its answer, for the handler that answers it.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "tools/seer/serve/http/message.h"

namespace seer::serve {

using Clock = std::chrono::steady_clock;

// What is logged and counted of a request.
struct RequestRecord {
  Clock::time_point start;      // its first byte came
  std::string route = "other";  // a path that exists here: anything else would let clients grow the metrics
  int status = 0;               // if it is not the one that was sent
  int64_t n_prompt = 0, n_generated = 0;  // tokens
};

// Used by one thread at a time. Between construction and finish() it alone writes to the socket.
class Exchange {
 public:
  // `fd` is a connected socket that does not block, and outlives this. `common`: fields of every answer, as
  // head_text() takes them.
  Exchange(int fd, RequestHead head, std::string body, RequestRecord record, std::string common);

  const RequestHead& head() const { return head_; }
  size_t body_size() const { return body_.size(); }     // bytes, 0 after take_body()
  std::string take_body() { return std::move(body_); }  // once: a handler that has read it need not keep it
  RequestRecord& record() { return record_; }

  // Whether the client has closed the connection. One that has closed its own half only, having nothing more
  // to say, still reads, but TCP tells the two apart only once something is sent. So if an answer takes
  // longer than a moment after that, "100 Continue" is sent, which clients skip: one that has gone resets the
  // connection. Waits for nothing.
  bool client_gone();

  // Sets the whole answer, which is sent after the handler has returned.
  void answer(Response response) { response_ = std::move(response); }
  void answer_json(int status, std::string json);

  // Sends the head of an answer whose length is not known, and then its body piece by piece. Each waits until
  // the system has taken the bytes, and throws ApiError{kClientGone} if the client has gone or takes nothing
  // for 30 seconds.
  void begin_stream(Response head);
  void write(std::string_view piece);

  // For whoever called the handler. fail(): it threw `thrown`. finish(): it has returned, and a stream gets
  // its end.
  void fail(const std::exception_ptr& thrown) noexcept;
  void abandon() noexcept;  // the client has gone, and no handler is called
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
  Clock::time_point half_closed_at_;  // epoch: it has not closed its half
};

// The answer that refuses.
Response refusal(const class ApiError& error);

}  // namespace seer::serve
