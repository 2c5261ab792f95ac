// Requests from bytes: those that are read, those that are refused and with which status, with every bound
// tested at it and one beyond it.
#include "tools/seer/serve/http/request_reader.h"

#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int64_t kMaxBody = 1000;

struct Outcome {
  int status = 0;  // 0 if it was read
  std::string message;
  RequestHead head;
  std::string body;
};

// Reads the first request of `bytes`, fed in pieces of `step`.
Outcome read(const std::string& bytes, size_t step) {
  RequestReader reader(kMaxBody);
  Outcome outcome;
  try {
    for (size_t at = 0; at < bytes.size(); at += step) {
      reader.feed(std::string_view(bytes).substr(at, step));
      if (reader.state() == RequestReader::State::kHeadRead) reader.begin_body();
      if (reader.state() == RequestReader::State::kDone) break;
    }
    if (reader.state() != RequestReader::State::kDone) {
      outcome.status = -1;
      outcome.message = "incomplete";
      return outcome;
    }
    outcome.head = reader.head();
    outcome.body = reader.body();
  } catch (const ApiError& error) {
    outcome.status = error.status();
    outcome.message = error.what();
  }
  return outcome;
}

// Checks that the outcome is the same however the bytes are cut, and returns it.
Outcome read(const std::string& bytes) {
  Outcome whole = read(bytes, bytes.size());
  for (const size_t step : {size_t{1}, size_t{7}}) {
    if (bytes.size() / step > 200'000) continue;
    const Outcome cut = read(bytes, step);
    INFO(bytes.substr(0, 200) << " in pieces of " << step);
    CHECK(cut.status == whole.status);
    CHECK(cut.message == whole.message);
    CHECK(cut.body == whole.body);
    CHECK(cut.head.path == whole.head.path);
    CHECK(cut.head.fields.size() == whole.head.fields.size());
  }
  return whole;
}

std::string get_bytes(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n";
}

std::string post_bytes(const std::string& fields, const std::string& body = "") {
  return "POST /p HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body;
}

constexpr const char* kChunked = "Transfer-Encoding: chunked\r\n";

TEST_CASE("a request's method, path, fields and body are read") {
  const Outcome one = read(post_bytes("X-One:  a b \r\nContent-Length: 3\r\n", "abc"));
  CHECK(one.status == 0);
  CHECK(one.head.method == "POST");
  CHECK(one.head.path == "/p");
  REQUIRE(one.head.find("x-one") != nullptr);
  CHECK(*one.head.find("x-one") == "a b");
  CHECK(one.head.find("x-two") == nullptr);
  CHECK(one.head.keep_alive);
  CHECK(one.head.has_body);
  CHECK(one.body == "abc");
  CHECK_FALSE(read(get_bytes("/", "Connection: close\r\n")).head.keep_alive);
  CHECK_FALSE(read("GET / HTTP/1.0\r\n\r\n").head.keep_alive);
  CHECK(read(get_bytes("/", "Content-Length: 0\r\n")).status == 0);
  CHECK(read(post_bytes("")).body.empty());
  CHECK(read("\r\n\r\n" + get_bytes("/")).head.path == "/");
}

TEST_CASE("an address is its path, with percent signs decoded") {
  const std::vector<std::pair<std::string, std::string>> paths = {
      {"/v1/models/a%20b", "/v1/models/a b"},
      {"/x?y=%zz", "/x"},
      {"/%2e%2E/x", "/../x"},
      {"http://host:80/x?y", "/x"},
      {"HTTPS://host", "/"},
      {"*", "*"},
      {"/a+b", "/a+b"},
      {"/%e2%82%ac", "/\xe2\x82\xac"},
      {"/v1/models/Qwen/Qwen3", "/v1/models/Qwen/Qwen3"}};
  for (const auto& [target, path] : paths) CHECK(read(get_bytes(target)).head.path == path);
  for (const char* bad : {"/%", "/%a", "/%zz", "/a%0", "x", "ftp://host/x", "host:80"})
    CHECK(read(get_bytes(bad)).status == 400);
}

TEST_CASE("chunks are put together, and their trailer changes nothing") {
  CHECK(read(post_bytes(kChunked, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")).body == "abc");
  CHECK(read(post_bytes(kChunked, "A;name=\"v\"\r\n0123456789\r\n0\r\n\r\n")).body == "0123456789");
  const Outcome trailer =
      read(post_bytes(kChunked, "1\r\na\r\n0\r\nX-Late: 1\r\nAuthorization: Bearer k\r\n\r\n"));
  CHECK(trailer.body == "a");
  CHECK(trailer.head.find("x-late") == nullptr);
  CHECK(trailer.head.find("authorization") == nullptr);
}

TEST_CASE("a field over several lines is refused, in the head and in the trailer") {
  for (const std::string space : {" ", "\t"}) {
    const std::string folded = "X-One: a\r\n" + space + "b\r\n";
    for (const std::string& fields : {folded, "X-Zero:\r\n" + space + "a\r\n", folded + "X-Two: c\r\n"}) {
      const Outcome head = read(get_bytes("/", fields));
      CHECK(head.status == kBadRequest);
      CHECK_THAT(head.message, ContainsSubstring("a field of the head goes over several lines"));
      const Outcome trailer = read(post_bytes(kChunked, "1\r\na\r\n0\r\n" + fields + "\r\n"));
      CHECK(trailer.status == kBadRequest);
      CHECK_THAT(trailer.message, ContainsSubstring("a field of the trailer goes over several lines"));
    }
    // In a body it is not a field.
    const Outcome body = read(post_bytes(kChunked, "8\r\nX: a\r\n" + space + "b\r\n0\r\nX-One: a\r\n\r\n"));
    CHECK(body.status == 0);
    CHECK(body.body == "X: a\r\n" + space + "b");
  }
}

TEST_CASE("framing that servers could read in two ways is refused") {
  const std::vector<std::string> bad = {
      post_bytes("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"),
      post_bytes("Content-Length: 1\r\nContent-Length: 1\r\n", "a"),
      post_bytes("Content-Length: 1, 1\r\n", "a"),
      post_bytes("Content-Length: +1\r\n", "a"),
      post_bytes("Content-Length: -1\r\n", "a"),
      post_bytes("Content-Length: 0x1\r\n", "a"),
      post_bytes("Content-Length: 1 1\r\n", "a"),
      post_bytes("Content-Length:\r\n", "a"),
      post_bytes("Content-Length: 18446744073709551616\r\n", "a"),
      post_bytes("Content-Length : 1\r\n", "a"),
      post_bytes(" Content-Length: 1\r\n", "a"),
      post_bytes("Content-Length\r\n", "a"),
      post_bytes("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      post_bytes("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "0\r\n\r\n"),
      post_bytes("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      post_bytes(kChunked, "0x1d\r\n" + std::string(29, 'a') + "\r\n0\r\n\r\n"),
      post_bytes(kChunked, "-1\r\na\r\n"),
      post_bytes(kChunked, "\r\n0\r\n\r\n"),
      post_bytes(kChunked, "1 \r\na\r\n0\r\n\r\n"),
      post_bytes(kChunked, "1\r\nab\r\n0\r\n\r\n"),
      post_bytes(kChunked, "0\r\nContent-Length: 5\r\n\r\n"),
      "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n",
      "nonsense\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  // a client that speaks TLS
  };
  for (const std::string& request : bad) {
    INFO(request);
    CHECK(read(request).status == 400);
  }
  // Lines without a carriage return do not end, so the request does not end either.
  for (const std::string& request :
       {post_bytes(kChunked, "1\na\n0\n\n"), std::string("GET / HTTP/1.1\nHost: h\n\n")})
    for (const size_t step : {size_t{1}, request.size()}) CHECK(read(request, step).status != 0);
  for (const char* encoding : {"gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked"})
    CHECK(read(post_bytes(std::string("Transfer-Encoding: ") + encoding + "\r\n", "0\r\n\r\n")).status ==
          501);
  CHECK(read("GET / HTTP/2.0\r\nHost: h\r\n\r\n").status == 505);
  CHECK(read("GET / HTTP/0.9\r\n\r\n").status == 505);
}

TEST_CASE("a request at each limit is read, and one beyond it is refused") {
  const std::string slash(kMaxTargetBytes, '/');
  CHECK(read(get_bytes(slash)).status == 0);
  CHECK(read(get_bytes(slash + "/")).status == 414);

  std::string fields;
  for (size_t i = 1; i < kMaxFields; ++i) fields += "X: y\r\n";  // with Host, that is the limit
  CHECK(read(get_bytes("/", fields)).status == 0);
  CHECK(read(get_bytes("/", fields + "X: y\r\n")).status == 431);

  const size_t others = get_bytes("/", "X: \r\n").size();
  CHECK(read(get_bytes("/", "X: " + std::string(kMaxHeadBytes - others - 4, 'x') + "\r\n")).status == 0);
  CHECK(read(get_bytes("/", "X: " + std::string(kMaxHeadBytes - others + 1, 'x') + "\r\n")).status == 431);

  const std::string body(kMaxBody, 'x');
  CHECK(read(post_bytes("Content-Length: 1000\r\n", body)).body == body);
  CHECK(read(post_bytes("Content-Length: 1001\r\n", body)).status == 413);
  CHECK(read(post_bytes("Content-Length: 18446744073709551615\r\n", body)).status == 413);
  CHECK(read(post_bytes(kChunked, "3e8\r\n" + body + "\r\n0\r\n\r\n")).body == body);
  CHECK(read(post_bytes(kChunked, "3e8\r\n" + body + "\r\n1\r\n")).status == 413);
  CHECK(read(post_bytes(kChunked, "fffffffffffffff\r\n")).status == 413);
  CHECK(read(post_bytes(kChunked, "ffffffffffffffff\r\n")).status == 413);
  CHECK(read(post_bytes(kChunked, "10000000000000000\r\n")).status == 400);
}

TEST_CASE("a chunk's size line and the trailer have an end") {
  CHECK(read(post_bytes(kChunked, std::string(kMaxChunkLine + 100, '0'))).status == 400);
  CHECK(read(post_bytes(kChunked, "1;" + std::string(kMaxChunkLine + 100, 'x'))).status == 400);
  CHECK(read(post_bytes(kChunked, "0\r\nX: " + std::string(kMaxChunkLine + 100, 'x'))).status == 400);
  std::string many;
  const std::string extension(1000, 'x');
  for (int i = 0; i < 20; ++i) many += "1;" + extension + "\r\na\r\n";
  CHECK_THAT(read(post_bytes(kChunked, many)).message, ContainsSubstring("extensions"));
}

TEST_CASE("requests that come together are read one after the other") {
  RequestReader reader(kMaxBody);
  reader.feed(post_bytes("Content-Length: 3\r\n", "abc") + get_bytes("/two") + "GET /thr");
  std::vector<std::string> paths;
  while (reader.state() == RequestReader::State::kHeadRead) {
    paths.push_back(reader.head().path);
    reader.begin_body();
    REQUIRE(reader.state() == RequestReader::State::kDone);
    reader.next_request();
  }
  CHECK(paths == std::vector<std::string>{"/p", "/two"});
  CHECK(reader.begun());
  reader.feed("ee HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(reader.head().path == "/three");
}

TEST_CASE("memory is held for what has come, not for what is announced") {
  RequestReader reader(int64_t{1} << 40);
  reader.feed(post_bytes("Content-Length: 1000000000000\r\n", "abc"));
  reader.begin_body();
  CHECK(reader.state() == RequestReader::State::kBody);
  CHECK(reader.held_bytes() < 1000);
}

}  // namespace
}  // namespace seer::serve
