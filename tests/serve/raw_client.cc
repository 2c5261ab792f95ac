#include "tests/serve/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/support/catch.h"

namespace seer::serve::testing {
namespace {

constexpr size_t kEndless = size_t{64} << 20;  // in bytes; more than any test asks for

}  // namespace

RawClient::RawClient(const std::string& url) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval minute = {60, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect to " + url);
}

void RawClient::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // the server has closed; only its answer matters
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

bool RawClient::more() {
  char bytes[4096];
  const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
  if (n > 0) buffer_.append(bytes, static_cast<size_t>(n));
  return n > 0;
}

std::string RawClient::read_until(const std::string& mark) {
  size_t at = 0;
  while ((at = buffer_.find(mark)) == std::string::npos) {
    INFO(buffer_);
    REQUIRE(more());
  }
  std::string text = buffer_.substr(0, at + mark.size());
  buffer_.erase(0, at + mark.size());
  return text;
}

std::string RawClient::read_to_end() {
  while (more()) REQUIRE(buffer_.size() < kEndless);
  return buffer_;
}

std::string RawClient::peek() {
  char bytes[4096];
  ssize_t n = 0;
  while ((n = ::recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
    buffer_.append(bytes, static_cast<size_t>(n));
  return buffer_;
}

void RawClient::close_half() const { ::shutdown(fd_, SHUT_WR); }

void RawClient::reset() {
  const linger at_once = {1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

void RawClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string get(const std::string& url, const std::string& path) {
  RawClient client(url);
  client.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  return client.read_to_end();
}

std::string post(const std::string& path, const std::string& body, const std::string& headers) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + headers + "\r\n" + body;
}

}  // namespace seer::serve::testing
