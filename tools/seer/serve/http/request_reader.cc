#include "tools/seer/serve/http/request_reader.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

constexpr const char* kNotHttp = "invalid_http";
constexpr size_t kMaxMethodBytes = 32;

ApiError not_http(const std::string& why) { return {kBadRequest, "not valid HTTP: " + why, "", kNotHttp}; }

ApiError head_too_large(const std::string& why) {
  return {kHeadTooLarge, "the request's head is too large: " + why, "", "head_too_large"};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Decodes percent signs. A plus sign stays, because it means a space only in forms, not in addresses.
std::string percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) throw not_http("expected two hexadecimal digits after each '%' of the address");
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

// Returns the path of "/path?query" or, as clients of proxies send it, "http://host/path?query".
std::string_view path_of(std::string_view target) {
  if (target == "*") return "*";
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(target.substr(0, scheme.size())) != scheme) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    break;
  }
  if (!target.starts_with('/')) throw not_http("expected an address that begins with '/'");
  return target.substr(0, target.find_first_of("?#"));
}

ApiError error_for(const error_code& error, bool in_head) {
  if (error == http::error::body_limit) return {kBodyTooLarge, "the body is too large", "", "body_too_large"};
  if (error == http::error::bad_version)
    return {kVersionNotSupported, "expected HTTP/1.0 or HTTP/1.1", "", kNotHttp};
  if (error == http::error::bad_content_length)
    return not_http("expected one Content-Length that is a number, and no Transfer-Encoding with it");
  if (error == http::error::bad_transfer_encoding)
    return not_http("expected one Transfer-Encoding, and no Content-Length with it");
  if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension)
    return not_http("expected a chunk: its size in hexadecimal digits, CRLF, the bytes, CRLF");
  return not_http(std::string(in_head ? "the head: " : "the body: ") + error.message());
}

}  // namespace

// Receives the values that Boost.Beast's parser finds. Beast's own message types would reserve memory that a
// client merely announces.
class RequestReader::Parser final : public http::basic_parser<true> {
 public:
  explicit Parser(int64_t max_body_size) : max_body_size_(static_cast<uint64_t>(max_body_size)) {
    header_limit(UINT32_MAX);  // Beast's own limit would not count the request line
    body_limit(UINT64_MAX);    // the limit is checked here, so that the error can name it
    eager(false);
  }

  RequestHead head;
  std::string body;
  std::string_view input;  // the bytes that are being parsed
  bool in_body = false;    // the next bytes belong to the body
  size_t n_read = 0;       // bytes of the request so far

  void begin_body() {
    if (content_length().value_or(0) > max_body_size_)
      throw_too_large("the body has " + std::to_string(*content_length()) + " bytes");
    in_body = true;
  }

 private:
  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       error_code&) override {
    if (target.size() > kMaxTargetBytes)
      throw ApiError(kTargetTooLong,
                     "the request's address has " + std::to_string(target.size()) +
                         " bytes: expected at most " + std::to_string(kMaxTargetBytes),
                     "", "address_too_long");
    if (method.size() > kMaxMethodBytes)
      throw ApiError(kNotImplemented, "the request's method is not known here", "", kNotHttp);
    head.method.assign(method.data(), method.size());
    head.target.assign(target.data(), target.size());
    head.version = version;
  }

  void on_response_impl(int, string_view, int, error_code&) override {}

  void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
    check_one_line({name.data(), name.size()});
    if (in_body) return;  // a trailer cannot change decisions that were based on the head
    if (head.fields.size() == kMaxFields)
      throw head_too_large("more than " + std::to_string(kMaxFields) + " fields");
    head.fields.push_back(
        {lower({name.data(), name.size()}), std::string(trimmed({value.data(), value.size()}))});
  }

  void on_header_impl(error_code&) override {
    head.shown_path = path_of(head.target);
    head.path = percent_decoded(head.shown_path);
    head.keep_alive = keep_alive() && head.version > 10;
    check_framing();
    head.has_body = chunked() || content_length().value_or(0) > 0;
  }

  // Throws for a field over several lines. RFC 9112 (5.2) lets servers refuse it, because not all servers see
  // one field there. The parser unfolds values, so this looks at the bytes from the name on.
  void check_one_line(std::string_view name) const {
    const size_t line_end = input.find("\r\n", static_cast<size_t>(name.data() - input.data()));
    const size_t next = line_end == std::string_view::npos ? line_end : line_end + 2;
    if (next < input.size() && (input[next] == ' ' || input[next] == '\t'))
      throw not_http(std::string("a field of the ") + (in_body ? "trailer" : "head") +
                     " goes over several lines");
  }

  // Refuses fields that servers read in different ways, because they would not agree on the request's end.
  void check_framing() const {
    if (head.count("content-length") > 1) throw not_http("expected one Content-Length, found more");
    if (const std::string* length = head.find("content-length");
        length != nullptr &&
        (length->empty() || length->find_first_not_of("0123456789") != std::string::npos))
      throw not_http("Content-Length is not a number");
    const size_t n_encodings = head.count("transfer-encoding");
    if (n_encodings == 0) return;
    if (head.version == 10) throw not_http("HTTP/1.0 has no Transfer-Encoding");
    if (n_encodings > 1 || lower(*head.find("transfer-encoding")) != "chunked" || !chunked())
      throw ApiError(kNotImplemented, "expected no Transfer-Encoding but 'chunked'", "", kNotHttp);
  }

  [[noreturn]] void throw_too_large(const std::string& what) const {
    throw ApiError(kBodyTooLarge,
                   what + ": expected at most " + std::to_string(max_body_size_) + " bytes (--max-body-size)",
                   "", "body_too_large");
  }

  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}

  size_t on_body_impl(string_view bytes, error_code&) override {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
  }

  void on_chunk_header_impl(uint64_t size, string_view extensions, error_code&) override {
    n_extension_bytes_ += extensions.size();
    if (n_extension_bytes_ > kMaxChunkExtensions)
      throw not_http("the extensions of the body's chunks have more than " +
                     std::to_string(kMaxChunkExtensions) + " bytes");
    if (size > max_body_size_ - body.size()) throw_too_large("the body is too large");
  }

  size_t on_chunk_body_impl(uint64_t, string_view bytes, error_code& error) override {
    return on_body_impl(bytes, error);
  }

  void on_finish_impl(error_code&) override {}

  const uint64_t max_body_size_;
  size_t n_extension_bytes_ = 0;
};

RequestReader::RequestReader(int64_t max_body_size)
    : max_body_size_(max_body_size), parser_(std::make_unique<Parser>(max_body_size)) {}

RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

void RequestReader::feed(std::string_view bytes) {
  pending_.append(bytes);
  advance();
}

void RequestReader::begin_body() {
  parser_->begin_body();
  advance();
}

void RequestReader::next_request() {
  parser_ = std::make_unique<Parser>(max_body_size_);
  advance();
}

void RequestReader::advance() {
  size_t begin = 0;
  // Skips empty lines before a request line, as RFC 9112 (2.2) asks.
  if (!parser_->got_some()) {
    while (pending_.compare(begin, 2, "\r\n") == 0) begin += 2;
    if (pending_.compare(begin, std::string::npos, "\r") == 0) return;
  }
  while (begin < pending_.size() && (state() == State::kHead || state() == State::kBody)) {
    // The rest of a chunked body is never shorter than this. Beast has an assertion about it when it reads
    // the last chunk.
    if (parser_->in_body && parser_->chunked() && pending_.size() - begin < std::strlen("0\r\n\r\n")) break;
    error_code error;
    parser_->input = std::string_view(pending_).substr(begin);
    const size_t n =
        parser_->put(boost::asio::const_buffer(parser_->input.data(), parser_->input.size()), error);
    begin += n;
    parser_->n_read += n;
    const bool waits = error == http::error::need_more;
    // The head's length is that of the part read and, while its end is missing, of the part not read yet.
    if (!parser_->in_body && parser_->n_read + (waits ? pending_.size() - begin : 0) > kMaxHeadBytes)
      throw head_too_large("more than " + std::to_string(kMaxHeadBytes) + " bytes");
    if (waits) {
      if (parser_->in_body && pending_.size() - begin > kMaxChunkLine)
        throw not_http("a chunk's size, or the trailer, has more than " + std::to_string(kMaxChunkLine) +
                       " bytes");
      break;
    }
    if (error) throw error_for(error, !parser_->in_body);
  }
  pending_.erase(0, begin);
  if (pending_.empty()) pending_.shrink_to_fit();  // an idle connection holds no buffer
}

RequestReader::State RequestReader::state() const {
  if (!parser_->is_header_done()) return State::kHead;
  if (!parser_->in_body) return State::kHeadRead;
  return parser_->is_done() ? State::kDone : State::kBody;
}

const RequestHead& RequestReader::head() const { return parser_->head; }
std::string& RequestReader::body() { return parser_->body; }
bool RequestReader::begun() const { return parser_->got_some() || !pending_.empty(); }
size_t RequestReader::held_bytes() const { return parser_->body.capacity() + pending_.capacity(); }

}  // namespace seer::serve
