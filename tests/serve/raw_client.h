// A client that sends exactly the bytes that a test gives it.
#pragma once

#include <string>
#include <string_view>

namespace seer::serve::testing {

class RawClient {
 public:
  explicit RawClient(const std::string& url);  // "http://127.0.0.1:PORT"
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send(std::string_view bytes) const;
  // Returns the text up to and with `mark`. Fails the test if it does not come within a minute.
  std::string read_until(const std::string& mark);
  std::string read_to_end();  // reads until the server closes; fails the test if it never does
  std::string peek();         // the bytes that have come so far
  void close();
  void reset();             // closes at once with a reset, so that the server sees a broken connection
  void close_half() const;  // closes the sending half: the client has nothing more to say

 private:
  bool more();

  int fd_ = -1;
  std::string buffer_;
};

// Returns the whole answer, headers included.
std::string get(const std::string& url, const std::string& path);
// Returns the text of the request.
std::string post(const std::string& path, const std::string& body, const std::string& headers = "");

}  // namespace seer::serve::testing
