// One HTTP request and one answer, as plain values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace seer::serve {

struct Field {
  std::string name, value;
};

// Everything before the body.
struct RequestHead {
  std::string method;         // as it was sent: "GET"
  std::string target;         // as it was sent: "/v1/models/a%20b?x=1"
  std::string path;           // of it, with percent signs decoded: "/v1/models/a b"
  std::string shown_path;     // the same as it was sent, for logs and messages: "/v1/models/a%20b"
  int version = 11;           // 10 or 11
  std::vector<Field> fields;  // names in lower case, in the order they came
  bool keep_alive = true;     // the client may ask again over this connection
  bool has_body = false;

  const std::string* find(std::string_view name) const;  // the first of that name; null: there is none
  size_t count(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type;  // empty: the answer has no body
  std::string body;
  std::vector<Field> fields;  // further ones
};

// How the length of an answer's body is told.
enum class Framing { kLength, kChunked, kUntilClose };

// The status line and the fields with the empty line after them. `common` is put among the fields as it is;
// each of its lines ends with "\r\n".
std::string head_text(const Response& response, Framing framing, bool keep_alive, const std::string& common);

// What the status line calls it: "Not Found".
std::string_view reason_of(int status);

// `text` in lower case, ASCII letters only.
std::string lower(std::string_view text);

// `text` without the spaces and tabs at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace seer::serve
