// Reads HTTP/1.0 and HTTP/1.1 requests from bytes, which may be cut anywhere. It knows neither sockets nor
// routes: between head and body its caller decides whether the request is wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/seer/serve/http/message.h"

namespace seer::serve {

// Limits that are not options. SECURITY.md lists them, and tests/serve/request_reader_test.cc tries each.
inline constexpr size_t kMaxHeadBytes = size_t{64} << 10;        // request line and fields together
inline constexpr size_t kMaxTargetBytes = size_t{8} << 10;       // 8,192, as in nginx and Apache
inline constexpr size_t kMaxFields = 100;                        // as in Apache
inline constexpr size_t kMaxChunkExtensions = size_t{16} << 10;  // bytes in one body; nobody uses chunk
                                                                 // extensions
inline constexpr size_t kMaxChunkLine = size_t{4} << 10;  // bytes in a chunk's size line, or in the trailer

class RequestReader {
 public:
  enum class State {
    kHead,      // the head is not complete
    kHeadRead,  // head() is complete; call begin_body() next
    kBody,      // the body is not complete
    kDone,      // head() and body() are complete; call next_request() next
  };

  explicit RequestReader(int64_t max_body_size);  // bytes
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  // Adds bytes and reads as far as possible: up to kHeadRead, kDone, or the end of the bytes. Throws ApiError
  // for a request that is not valid HTTP or is beyond a limit; feed nothing after that.
  void feed(std::string_view bytes);
  // Read on with the bytes that came after the head, or after the last request. Both throw as feed() does;
  // begin_body() also throws if the announced body is larger than the limit.
  void begin_body();
  void next_request();

  State state() const;
  const RequestHead& head() const;                       // from kHeadRead on
  std::string& body();                                   // in kDone
  bool begun() const;                                    // part of the request has come
  bool has_unread() const { return !pending_.empty(); }  // bytes after what has been read
  size_t held_bytes() const;  // bytes of memory for the input: the body so far, and the bytes not read yet

 private:
  class Parser;
  void advance();

  int64_t max_body_size_;
  std::unique_ptr<Parser> parser_;
  std::string pending_;  // bytes that are not parsed yet
};

}  // namespace seer::serve
