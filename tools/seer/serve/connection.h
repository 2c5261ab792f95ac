// One client's TCP connection, as cpp-httplib reads and writes it. Its own sockets know neither of a bound on
// headers nor whether the client is still there while an answer is computed; this one does.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include <httplib.h>

namespace seer::serve {

using Clock = std::chrono::steady_clock;

// What is logged and counted of the request that is being answered.
struct RequestRecord {
  Clock::time_point start;
  std::string route = "other";  // a path that exists here: anything else would let clients grow the metrics
  int status = 0;               // where it differs from what was sent
  int64_t n_prompt = 0, n_generated = 0;  // tokens
};

// Used by the thread that answers it, shut_down() apart.
class Connection final : public httplib::Stream {
 public:
  explicit Connection(int fd);  // takes the descriptor over
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The one whose request the calling thread answers. Never null in a handler.
  static Connection& current();

  // Waits for a request's first byte, at most `idle`. False where none came, the client has gone or
  // `stopping` is set.
  bool wait_for_request(std::chrono::milliseconds idle, const std::atomic<bool>& stopping);
  void begin_request();  // its headers are read next
  // Its headers have been read; the body must arrive within `time`. `interim`: the client understands
  // answers before the answer, as HTTP/1.1 has them.
  void begin_body(bool there_is_one, std::chrono::milliseconds time, bool interim);
  void body_was_read() { unread_ = false; }
  // Some of the request was left unread, so it is the connection's last: what follows would be taken for the
  // next.
  bool unread() const { return unread_; }
  RequestRecord& record() { return record_; }

  bool timed_out() const { return timed_out_; }  // the request did not arrive within its time
  // Whether it has closed the connection. One that has closed its own half only, having nothing more to say,
  // still reads, but TCP tells the two apart only once something is sent. So if an answer takes longer than a
  // moment after that, "100 Continue" is sent, which clients skip: one that has gone resets the connection.
  bool client_gone();
  void shut_down() noexcept;           // ends every read and write, from any thread
  void close_after_unread() noexcept;  // lets the client read the answer although nobody read its request

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* bytes, size_t size) override;
  ssize_t write(const char* bytes, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return fd_; }

 private:
  bool reset_or_closed() const;
  bool wait(short events, Clock::time_point until) const;

  int fd_;
  std::array<char, size_t{16} << 10> buffer_;
  size_t begin_ = 0, end_ = 0;  // of what is in buffer_
  size_t header_bytes_ = 0;     // given out since begin_request()
  bool in_headers_ = true, unread_ = false, timed_out_ = false;
  bool may_probe_ = false;            // an interim answer may be sent now
  Clock::time_point half_closed_at_;  // epoch: it has not closed its half
  Clock::time_point deadline_;        // of reading
  RequestRecord record_;
};

}  // namespace seer::serve
