// One HTTP request and its answer, as plain values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace seer::serve {

struct Field {
  std::string name, value;
};

// The parts of a request before the body.
struct RequestHead {
  std::string method;         // as sent: "GET"
  std::string target;         // as sent: "/v1/models/a%20b?x=1"
  std::string path;           // the target's path, with percent signs decoded: "/v1/models/a b"
  std::string shown_path;     // the same path as sent, for logs and messages: "/v1/models/a%20b"
  int version = 11;           // 10 or 11
  std::vector<Field> fields;  // in the order they came, with names in lower case
  bool keep_alive = true;     // the client may send another request over this connection
  bool has_body = false;

  const std::string* find(std::string_view name) const;  // returns the first field of that name, or null
  size_t count(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type;  // empty: the answer has no body
  std::string body;
  std::vector<Field> fields;  // further fields
};

// How a client learns the length of an answer's body.
enum class Framing { kLength, kChunked, kUntilClose };

// Returns the status line and the fields, with the empty line after them. `common` is put among the fields
// unchanged; each of its lines must end with "\r\n".
std::string head_text(const Response& response, Framing framing, bool keep_alive, const std::string& common);

// Returns the text of a status in the status line: "Not Found".
std::string_view reason_of(int status);

// Returns `text` in lower case; only ASCII letters are changed.
std::string lower(std::string_view text);

// Returns `text` without the spaces and tabs at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace seer::serve
