// Reads HTTP/1.0 and HTTP/1.1 requests from bytes, however these are cut. It knows neither sockets nor
// routes: whoever feeds it decides between head and body whether the request is wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/seer/serve/http/message.h"

namespace seer::serve {

// Bounds that are no options. SECURITY.md lists them, and tests/serve/request_reader_test.cc tries each.
inline constexpr size_t kMaxHeadBytes = size_t{64} << 10;        // request line and fields together
inline constexpr size_t kMaxTargetBytes = size_t{8} << 10;       // 8,192, as nginx and Apache have it
inline constexpr size_t kMaxFields = 100;                        // as Apache has it
inline constexpr size_t kMaxChunkExtensions = size_t{16} << 10;  // bytes in one body: nobody uses them
inline constexpr size_t kMaxChunkLine = size_t{4} << 10;         // a chunk's size line, or the trailer

class RequestReader {
 public:
  enum class State {
    kHead,      // the head is not complete
    kHeadRead,  // head() is complete; begin_body() comes next
    kBody,      // the body is not complete
    kDone,      // head() and body() are complete; next_request() comes next
  };

  explicit RequestReader(int64_t max_body_size);  // bytes
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  // Adds bytes and reads as far as they go: up to kHeadRead, kDone, or the end of the bytes. Throws ApiError
  // for a request that is not valid HTTP or is beyond a bound; nothing may be fed after that.
  void feed(std::string_view bytes);
  // Goes on with the bytes that came after the head, or after the last request. Both throw as feed() does;
  // begin_body() also if a body is announced that is larger than the limit.
  void begin_body();
  void next_request();

  State state() const;
  const RequestHead& head() const;                       // since kHeadRead
  std::string& body();                                   // since kDone
  bool begun() const;                                    // some of the request has come
  bool has_unread() const { return !pending_.empty(); }  // bytes after what has been read
  size_t held_bytes() const;  // of memory for what was fed: the body so far, and what is not read yet

 private:
  class Parser;
  void advance();

  int64_t max_body_size_;
  std::unique_ptr<Parser> parser_;
  std::string pending_;  // bytes that are not parsed yet
};

}  // namespace seer::serve
