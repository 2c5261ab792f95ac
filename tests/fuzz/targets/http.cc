// The bytes that a client sends over one connection. Requests must be the same however the bytes are cut.
#include <algorithm>

#include "tests/fuzz/support.h"
#include "tools/seer/serve/http/request_reader.h"
#include "tools/seer/serve/http/request_rules.h"

namespace seer::fuzz::http_target {
namespace {

using serve::RequestHead;
using serve::RequestReader;

constexpr size_t kMaxSize = 8192;
constexpr int64_t kMaxBody = 2048;

struct Request {
  std::string head, body;
  bool operator==(const Request&) const = default;
};

struct Conversation {
  std::vector<Request> requests;
  int refused = 0;     // the status of the refusal
  bool begun = false;  // the bytes end within a request

  // A bad request may be refused when it is complete, or as soon as a fault is seen. If it has several
  // faults, another one may be seen first.
  bool agrees(const Conversation& other) const {
    if (requests != other.requests) return false;
    return (refused != 0) == (other.refused != 0) ? begun == other.begun : begun || other.begun;
  }
};

void check_head(const RequestHead& head) {
  static const serve::RequestRules rules(
      {"127.0.0.1", "key", {"http://a.example"}, {"b.example"}},
      {{"GET", "/health", nullptr, true}, {"POST", "/v1/completions", nullptr}});
  expect(head.version == 10 || head.version == 11, "a version");
  expect(!head.method.empty() && !head.target.empty(), "a request without a method or a target");
  for (const serve::Field& field : head.fields) {
    expect(field.name == serve::lower(field.name) && !field.name.empty(), "a field's name");
    expect(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos,
           "a line end in a value");
  }
  expect(head.count("content-length") == 0 || head.count("transfer-encoding") == 0,
         "two lengths of one body");
  const serve::Admission admission = rules.admit(head);
  expect(admission.refusal || admission.preflight || admission.route != nullptr,
         "neither refused nor answered");
  rules.cors_fields(head);
  if (admission.preflight) rules.preflight_response(head);
}

std::string text_of(const RequestHead& head, bool framed) {
  std::string text =
      head.method + " " + head.target + (head.version == 11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
  for (const serve::Field& field : head.fields)
    if (!framed || (field.name != "transfer-encoding" && field.name != "content-length"))
      text += field.name + ": " + field.value + "\r\n";
  return text;
}

// Sends the same request with its length in front, and checks that it is read in the same way.
void check_again(const RequestHead& head, const std::string& body) {
  RequestReader reader(kMaxBody);
  reader.feed(text_of(head, true) +
              (head.has_body ? "content-length: " + std::to_string(body.size()) + "\r\n\r\n" : "\r\n") +
              body);
  expect(reader.state() == RequestReader::State::kHeadRead, "a head that is not read again");
  expect(reader.head().path == head.path && text_of(reader.head(), true) == text_of(head, true),
         "another head");
  reader.begin_body();
  expect(reader.state() == RequestReader::State::kDone && reader.body() == body && !reader.has_unread(),
         "another body");
}

// Reads on to the end of the bytes. Returns false after the last request of the connection.
bool advance(RequestReader* reader, Conversation* out) {
  while (true) {
    if (reader->state() == RequestReader::State::kHeadRead) {
      check_head(reader->head());
      reader->begin_body();
    } else if (reader->state() == RequestReader::State::kDone) {
      const RequestHead head = reader->head();
      expect(reader->body().size() <= static_cast<size_t>(kMaxBody), "a body beyond the limit");
      check_again(head, reader->body());
      out->requests.push_back({text_of(head, false), reader->body()});
      if (!head.keep_alive) return false;
      reader->next_request();
    } else {
      return true;
    }
  }
}

Conversation read(std::string_view bytes, const std::function<size_t()>& piece_size) {
  Conversation out;
  RequestReader reader(kMaxBody);
  try {
    bool more = true;
    while (more && !bytes.empty()) {
      const std::string_view piece = bytes.substr(0, piece_size());
      bytes.remove_prefix(piece.size());
      reader.feed(piece);
      more = advance(&reader, &out);
      expect(reader.held_bytes() <= serve::kMaxHeadBytes + 4 * kMaxSize, "more is held than was sent");
    }
    out.begun = more && reader.begun();
  } catch (const serve::ApiError& error) {
    expect(error.status() >= 400 && error.status() < 600, "the status of a refusal");
    out.refused = error.status();
  }
  return out;
}

// The first byte selects the cuts in the rest.
void run(const std::string& bytes) {
  if (bytes.empty()) return;
  const std::string_view sent = std::string_view(bytes).substr(1);
  Random random(static_cast<unsigned char>(bytes[0]));
  Conversation whole;
  accepts([&] { whole = read(sent, [&] { return sent.size(); }); });
  accepts([&] {
    const Conversation pieces = read(sent, [&] { return size_t{1} + random.below(40); });
    expect(pieces.agrees(whole), "other requests from pieces");
  });
  accepts([&] { expect(read(sent, [] { return size_t{1}; }).agrees(whole), "other requests byte by byte"); });
}

const Registration kTarget({"http", run, nullptr, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::http_target
