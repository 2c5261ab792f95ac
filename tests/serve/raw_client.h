// A client that says exactly what a test has it say.
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
  // What comes up to and with `mark`; fails the test where it does not come within a minute.
  std::string read_until(const std::string& mark);
  std::string read_to_end();  // until the server closes; fails the test if it goes on for ever
  std::string peek();         // what has come by now
  void close();
  void reset();             // closes at once, and says that the connection is broken
  void close_half() const;  // it has nothing more to send

 private:
  bool more();

  int fd_ = -1;
  std::string buffer_;
};

std::string get(const std::string& url, const std::string& path);  // the whole answer, headers included
std::string post(const std::string& path, const std::string& body,
                 const std::string& headers = "");  // the request

}  // namespace seer::serve::testing
