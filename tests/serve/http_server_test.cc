// HTTP alone: connections, bodies, methods, threads.
#include "tools/seer/serve/http/http_server.h"

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "seer/error.h"
#include "tests/serve/raw_client.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/http/worker_threads.h"

namespace seer::serve {
namespace {

using testing::get;
using testing::post;
using testing::RawClient;

std::vector<Route> routes() {
  return {
      {"GET", "/open", [](Exchange& e) { e.answer_json(kOk, "\"open\""); }, true},
      {"GET", "/urgent", [](Exchange& e) { e.answer_json(kOk, "\"urgent\""); }, true, true},
      {"GET", "/closed", [](Exchange& e) { e.answer_json(kOk, "\"closed\""); }},
      {"GET", "/below/", [](Exchange& e) { e.answer_json(kOk, e.head().path); }},
      {"POST", "/echo", [](Exchange& e) { e.answer_json(kOk, "<" + e.take_body() + ">"); }},
      {"POST", "/throw", [](Exchange&) { throw std::runtime_error("a bug"); }},
      {"POST", "/stream",
       [](Exchange& e) {
         e.begin_stream({kOk, "text/plain", "", {}});
         for (const char* piece : {"one", "", " two"}) e.write(piece);
       }},
      {"POST", "/break",
       [](Exchange& e) {
         e.begin_stream({kOk, "text/plain", "", {}});
         e.write("half");
         throw std::runtime_error("a bug");
       }},
  };
}

struct Server {
  explicit Server(HttpOptions options = {})
      : http(any_port(std::move(options)), routes(), [](const Finished&) {}) {
    http.start();
  }
  static HttpOptions any_port(HttpOptions options) {
    options.port = 0;
    return options;
  }
  std::string url() const { return http.url(); }
  std::string ask(const std::string& request) const {
    RawClient client(url());
    client.send(request);
    return client.read_to_end();
  }

  HttpServer http;
};

constexpr const char* kClose = "Connection: close\r\n";

TEST_CASE("requests that come at once over one connection are answered in order") {
  const Server server;
  RawClient client(server.url());
  client.send(post("/echo", "one") + post("/echo", "two") + post("/echo", "", kClose));
  const std::string all = client.read_to_end();
  const size_t one = all.find("<one>"), two = all.find("<two>"), three = all.find("<>");
  CHECK(one < two);
  CHECK(two < three);
  CHECK(three != std::string::npos);
}

TEST_CASE("a body comes by its length, in chunks, or not at all") {
  const Server server;
  CHECK_THAT(server.ask(post("/echo", "abc", kClose)), ContainsSubstring("<abc>"));
  const std::string head = "POST /echo HTTP/1.1\r\nHost: seer.localhost\r\nConnection: close\r\n";
  CHECK_THAT(server.ask(head + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
             ContainsSubstring("<abc>"));
  CHECK_THAT(server.ask(head + "\r\n"), ContainsSubstring("<>"));
  CHECK_THAT(server.ask(head + "Content-Length: minus one\r\n\r\n"), ContainsSubstring("HTTP/1.1 400 "));
  CHECK_THAT(
      server.ask(head + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b"),
      ContainsSubstring("<a=b>"));
}

TEST_CASE("a body above the limit is refused before it is read, and the connection closed") {
  HttpOptions options;
  options.max_body_size = 10;
  const Server server(options);
  CHECK_THAT(server.ask(post("/echo", "0123456789", kClose)), ContainsSubstring("<0123456789>"));
  const std::string refused =
      server.ask("POST /echo HTTP/1.1\r\nHost: seer.localhost\r\nContent-Length: 999999999999999999\r\n\r\n");
  CHECK_THAT(refused, ContainsSubstring("HTTP/1.1 413 "));
  CHECK_THAT(refused, ContainsSubstring("Connection: close"));
  CHECK_THAT(server.ask(post("/echo", std::string(4'000'000, 'x'))), ContainsSubstring("HTTP/1.1 413 "));
  const std::string waits = server.ask(
      "POST /echo HTTP/1.1\r\nHost: seer.localhost\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  CHECK_THAT(waits, ContainsSubstring("HTTP/1.1 413 "));
  CHECK(waits.find("100 Continue") == std::string::npos);
}

TEST_CASE("a stream comes in chunks, or until the end of an HTTP/1.0 connection") {
  const Server server;
  CHECK_THAT(server.ask(post("/stream", "", kClose)),
             ContainsSubstring("\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n"));
  const std::string old = server.ask("POST /stream HTTP/1.0\r\n\r\n");
  CHECK_THAT(old, ContainsSubstring("\r\n\r\none two"));
  CHECK(old.find("chunked") == std::string::npos);
  // Both requests go over one connection.
  RawClient client(server.url());
  client.send(post("/stream", "") + post("/stream", "", kClose));
  const std::string both = client.read_to_end();
  CHECK(both.find("0\r\n\r\nHTTP/1.1 200") != std::string::npos);
}

TEST_CASE("a stream that breaks has no end") {
  const Server server;
  const std::string answer = server.ask(post("/break", ""));
  CHECK_THAT(answer, ContainsSubstring("4\r\nhalf\r\n"));
  CHECK_FALSE(answer.ends_with("0\r\n\r\n"));
}

TEST_CASE("a request is answered however slowly its bytes come") {
  const Server server;
  RawClient client(server.url());
  for (const char byte : post("/echo", "abc", kClose)) client.send(std::string_view(&byte, 1));
  CHECK_THAT(client.read_to_end(), ContainsSubstring("<abc>"));
}

TEST_CASE("a head that does not come to its end is answered, and an idle connection closed") {
  HttpOptions options;
  options.head_timeout = options.idle_timeout = std::chrono::milliseconds(50);
  const Server server(options);
  CHECK_THAT(server.ask("GET /open HTTP/1.1\r\nHost:"), ContainsSubstring("\"code\":\"head_timeout\""));
  CHECK(server.ask("").empty());
  CHECK(server.http.n_active() == 0);
}

TEST_CASE("bytes after a request that are no request are answered with 400") {
  const Server server;
  RawClient client(server.url());
  client.send(post("/echo", "abc") + "\r\nnonsense\r\n\r\n");
  const std::string answer = client.read_to_end();
  CHECK_THAT(answer, ContainsSubstring("<abc>"));
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 400 "));
}

TEST_CASE("a request that is not valid HTTP is answered once and is its connection's last") {
  const Server server;
  const std::string host = "Host: seer.localhost\r\n", open = "GET /open HTTP/1.1\r\n" + host;
  for (const std::string& head :
       {"GET open HTTP/1.1\r\n" + host, "GET /%zz HTTP/1.1\r\n" + host, open + "X:\r\n y\r\n", open + "X\r\n",
        open + "Content-Length: 0\r\nContent-Length: 0\r\n", open + "Content-Length: x\r\n",
        open + "Transfer-Encoding: gzip\r\n", std::string("nonsense\r\n")}) {
    INFO(head);
    const std::string answer = server.ask(head + "\r\n" + open + kClose + "\r\n");
    CHECK_THAT(answer, ContainsSubstring("\"code\":\"invalid_http\""));
    CHECK(answer.rfind("HTTP/1.1 ") == 0);
  }
}

TEST_CASE("connections beyond the limit take the place of the one that has waited longest") {
  HttpOptions options;
  options.max_connections = 3;
  const Server server(options);
  RawClient first(server.url()), second(server.url()), third(server.url());
  first.send("GET /open");  // a connection with half a head also waits
  for (const RawClient* client : {&second, &third})
    client->send("GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK_THAT(second.read_until("\"open\""), ContainsSubstring(" 200 "));
  CHECK_THAT(third.read_until("\"open\""), ContainsSubstring(" 200 "));
  CHECK_THAT(get(server.url(), "/open"), ContainsSubstring("\"open\""));
  CHECK(first.read_to_end().empty());
  third.send(post("/echo", "abc", kClose));
  CHECK_THAT(third.read_to_end(), ContainsSubstring("<abc>"));
}

TEST_CASE("more connections than the system allows are refused by name") {
  HttpOptions options;
  options.port = 0;
  options.max_connections = int64_t{1} << 40;
  HttpServer server(options, routes(), [](const Finished&) {});
  CHECK_THROWS_WITH(server.start(), ContainsSubstring("--max-connections") && ContainsSubstring("ulimit -n"));
}

TEST_CASE("a request is recorded by its path as it was sent, without the query") {
  std::mutex mutex;
  std::vector<std::string> paths;
  HttpServer http(Server::any_port({}), routes(), [&](const Finished& f) {
    const std::lock_guard lock(mutex);
    paths.push_back(f.method + " " + f.path);
  });
  http.start();
  for (const char* path : {"/below/a%20b?key=x", "/%00x", "/a%0d%0ab", "http://localhost/c%E2%80%A8?"})
    get(http.url(), path);
  const std::lock_guard lock(mutex);
  CHECK(paths ==
        std::vector<std::string>{"GET /below/a%20b", "GET /%00x", "GET /a%0d%0ab", "GET /c%E2%80%A8"});
}

// A server with one thread, which is busy until release().
struct BusyServer {
  explicit BusyServer(int64_t max_connections = 0)
      : http(options(max_connections), with_busy(), [this](const Finished& f) { note(f); }) {
    http.start();
    busy = std::make_unique<RawClient>(http.url());
    busy->send(post("/busy", "", kClose));
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return inside; });
  }
  static HttpOptions options(int64_t max_connections) {
    HttpOptions options;
    options.max_threads = 1;
    options.max_connections = max_connections;
    return Server::any_port(options);
  }
  std::vector<Route> with_busy() {
    std::vector<Route> with = routes();
    with.push_back({"POST", "/busy", [this](Exchange& e) {
                      std::unique_lock lock(mutex);
                      inside = true;
                      wake.notify_all();
                      wake.wait(lock, [&] { return go_on; });
                      e.answer_json(kOk, "\"done\"");
                    }});
    return with;
  }
  void note(const Finished& finished) {
    const std::lock_guard lock(mutex);
    statuses.push_back(finished.status);
    wake.notify_all();
  }
  void release() {
    const std::lock_guard lock(mutex);
    go_on = true;
    wake.notify_all();
  }
  // Returns the statuses of the first n requests that have ended.
  std::vector<int> ended(size_t n) {
    std::unique_lock lock(mutex);
    wake.wait_for(lock, std::chrono::minutes(1), [&] { return statuses.size() >= n; });
    return statuses;
  }

  std::mutex mutex;
  std::condition_variable wake;
  bool inside = false, go_on = false;
  std::vector<int> statuses;
  HttpServer http;
  std::unique_ptr<RawClient> busy;
};

TEST_CASE("a client that leaves while its request waits for a thread gives its connection back") {
  BusyServer server;
  RawClient resets(server.http.url()), closes(server.http.url());
  for (const RawClient* client : {&resets, &closes}) client->send(post("/echo", "abc"));
  while (server.http.n_active() < 3) std::this_thread::yield();
  resets.reset();
  closes.close();
  CHECK(server.ended(2) == std::vector<int>{kClientGone, kClientGone});
  while (server.http.n_active() > 1) std::this_thread::yield();
  server.release();
  CHECK_THAT(server.busy->read_to_end(), ContainsSubstring("\"done\""));
  CHECK_THAT(get(server.http.url(), "/closed"), ContainsSubstring("\"closed\""));
}

TEST_CASE("a client that has nothing more to say is answered however long its request waits for a thread") {
  BusyServer server;
  RawClient half(server.http.url()), whole(server.http.url());
  for (const RawClient* client : {&half, &whole}) client->send(post("/echo", "abc", kClose));
  half.close_half();
  // By now the server has checked whether its clients are still there.
  CHECK_THAT(half.read_until("100 Continue\r\n\r\n"), ContainsSubstring("HTTP/1.1 100 "));
  server.release();
  CHECK_THAT(half.read_to_end(), ContainsSubstring("<abc>"));
  CHECK(whole.read_to_end().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("an open route is answered while every thread is busy") {
  BusyServer server;
  RawClient waits(server.http.url());
  waits.send(post("/echo", "abc", kClose));
  CHECK_THAT(get(server.http.url(), "/open"), ContainsSubstring("\"open\""));
  server.release();
  CHECK_THAT(server.busy->read_to_end(), ContainsSubstring("\"done\""));
  CHECK_THAT(waits.read_to_end(), ContainsSubstring("<abc>"));
}

TEST_CASE("an urgent route, and no other, is answered while every connection waits for its handler") {
  BusyServer server(/*max_connections=*/2);
  RawClient second(server.http.url());
  second.send(post("/busy", "", kClose));
  while (server.http.n_active() < 2) std::this_thread::yield();
  CHECK_THAT(get(server.http.url(), "/urgent"), ContainsSubstring("\"urgent\""));
  for (const char* other : {"/open", "/closed"})
    CHECK_THAT(get(server.http.url(), other), ContainsSubstring("\"code\":\"too_many_connections\""));
  server.release();
  CHECK_THAT(server.busy->read_to_end(), ContainsSubstring("\"done\""));
  CHECK_THAT(second.read_to_end(), ContainsSubstring("\"done\""));
}

TEST_CASE("a head under way does not hold up a server that stops") {
  Server server;
  RawClient half(server.url()), empty(server.url());
  empty.send("\r\n");  // no request at all
  half.send("G");
  while (server.http.n_active() == 0) std::this_thread::yield();
  server.http.stop_accepting();
  server.http.join(false);
  CHECK_THAT(half.read_to_end(), ContainsSubstring("HTTP/1.1 408 "));
  CHECK(empty.read_to_end().empty());
}

TEST_CASE("bodies that are too large together are refused") {
  HttpOptions options;
  options.max_body_size = 8 << 20;
  const Server server(options);
  // The server may hold sixteen times the largest body, and small ones beyond that.
  std::vector<std::unique_ptr<RawClient>> clients;
  std::string refused;
  const std::string part(7 << 20, 'x');
  for (int i = 0; i < 40 && refused.empty(); ++i) {
    clients.push_back(std::make_unique<RawClient>(server.url()));
    clients.back()->send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\n" + part);
    refused = clients.back()->peek();
  }
  CHECK_THAT(refused, ContainsSubstring("HTTP/1.1 503 "));
  CHECK_THAT(server.ask(post("/echo", "abc", kClose)), ContainsSubstring("<abc>"));
}

TEST_CASE("headers without an end are cut off") {
  const Server server;
  const std::string many =
      "GET /open HTTP/1.1\r\nHost: seer.localhost\r\n" + std::string(30'000, ' ') + "\r\n";
  CHECK(server.ask(many + many + many + many).find(" 200 ") == std::string::npos);
  CHECK(server.ask("GET /open HTTP/1.1\r\nHost: seer.localhost\r\nX: " + std::string(100'000, 'x'))
            .find(" 200 ") == std::string::npos);
  CHECK_THAT(get(server.url(), "/open"), ContainsSubstring(" 200 "));
}

TEST_CASE("unknown methods and addresses are answered with 405 and 404") {
  const Server server;
  CHECK_THAT(get(server.url(), "/echo"), ContainsSubstring("HTTP/1.1 405 "));
  CHECK_THAT(get(server.url(), "/echo"), ContainsSubstring("Allow: POST"));
  CHECK_THAT(get(server.url(), "/nothing"), ContainsSubstring("HTTP/1.1 404 "));
  CHECK_THAT(get(server.url(), "/below/a/b"), ContainsSubstring("/below/a/b"));
  CHECK_THAT(get(server.url(), "/below/"), ContainsSubstring("HTTP/1.1 404 "));
  CHECK_THAT(get(server.url(), "/below/" + std::string(8000, 'x')), ContainsSubstring("HTTP/1.1 200 "));
  CHECK_THAT(get(server.url(), "/below/%0ax"), ContainsSubstring("HTTP/1.1 200 "));
  CHECK_THAT(get(server.url(), "/%00x%20"), ContainsSubstring("there is no /%00x%20 here"));
  CHECK_THAT(get(server.url(), "/echo%2f"), ContainsSubstring("GET is not for /echo%2f: expected POST"));
  CHECK_THAT(server.ask("OPTIONS /echo HTTP/1.1\r\nHost: seer.localhost\r\nConnection: close\r\n\r\n"),
             ContainsSubstring("HTTP/1.1 405 "));
  const std::string head =
      server.ask("HEAD /open HTTP/1.1\r\nHost: seer.localhost\r\nConnection: close\r\n\r\n");
  CHECK_THAT(head, ContainsSubstring("HTTP/1.1 200 "));
  CHECK(head.find("\"open\"") == std::string::npos);
  CHECK_THAT(
      server.ask(
          "GET /open HTTP/1.1\r\nHost: seer.localhost\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n"),
      ContainsSubstring("\"open\""));
}

TEST_CASE("a refused request's body is not taken for the next request") {
  const Server server;
  const std::string answer =
      server.ask(post("/nothing", "GET /open HTTP/1.1\r\nHost: seer.localhost\r\n\r\n"));
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 404 "));
  CHECK(answer.find("\"open\"") == std::string::npos);
}

TEST_CASE("a handler that throws is a server error with a message") {
  const Server server;
  const std::string answer = server.ask(post("/throw", "x", kClose));
  CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 500 "));
  CHECK_THAT(answer, ContainsSubstring("\"message\":\"a bug\",\"type\":\"server_error\""));
}

TEST_CASE("a key is asked for if one is set, before the body") {
  HttpOptions options;
  options.access.api_key = "k-1";
  const Server server(options);
  CHECK_THAT(server.ask(post("/echo", "x", "Authorization: Bearer k-1\r\nConnection: close\r\n")),
             ContainsSubstring("<x>"));
  CHECK_THAT(server.ask("POST /echo HTTP/1.1\r\nHost: seer.localhost\r\nContent-Length: 5\r\n\r\n"),
             ContainsSubstring("HTTP/1.1 401 "));
  CHECK_THAT(server.ask(post("/echo", "x", "Authorization: Bearer k-2\r\n")),
             ContainsSubstring("HTTP/1.1 401 "));
  CHECK_THAT(get(server.url(), "/open"), ContainsSubstring("HTTP/1.1 200 "));
}

TEST_CASE("the scheme of a key is the same in any case") {
  HttpOptions options;
  options.access.api_key = "k-1";
  const Server server(options);
  for (const std::string scheme : {"bearer", "BEARER", "Bearer"})
    CHECK_THAT(server.ask(post("/echo", "x", "Authorization: " + scheme + " k-1\r\nConnection: close\r\n")),
               ContainsSubstring("<x>"));
  for (const std::string header : {"Basic k-1", "bearerk-1", "bearer", "k-1"})
    CHECK_THAT(server.ask(post("/echo", "x", "Authorization: " + header + "\r\n")),
               ContainsSubstring("HTTP/1.1 401 "));
}

TEST_CASE("a slash at the end of an address changes nothing") {
  const Server server;
  CHECK_THAT(server.ask(post("/echo/", "abc", kClose)), ContainsSubstring("<abc>"));
  CHECK_THAT(get(server.url(), "/open/"), ContainsSubstring("\"open\""));
  CHECK_THAT(get(server.url(), "/open//"), ContainsSubstring("HTTP/1.1 404 "));
}

TEST_CASE("a body that stalls is answered and the connection closed") {
  HttpOptions options;
  options.body_timeout = std::chrono::milliseconds(100);
  const Server server(options);
  for (const std::string body :
       {"Content-Length: 5\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab"}) {
    RawClient client(server.url());
    client.send("POST /echo HTTP/1.1\r\nHost: seer.localhost\r\n" + body);
    const std::string answer = client.read_until("--body-timeout");
    CHECK_THAT(answer, ContainsSubstring("HTTP/1.1 408 "));
    CHECK_THAT(answer, ContainsSubstring("Connection: close"));
    CHECK_THAT(client.read_until("}}"), ContainsSubstring("\"code\":\"body_timeout\""));
  }
}

TEST_CASE("a client that has nothing more to send is answered") {
  const Server server;
  RawClient client(server.url());
  client.send(post("/echo", "abc"));
  client.close_half();
  const std::string answer = client.read_to_end();
  CHECK(answer.starts_with("HTTP/1.1 200 "));
  CHECK_THAT(answer, ContainsSubstring("<abc>"));
}

TEST_CASE("keys are equal only if all their bytes are") {
  CHECK(equal_in_constant_time("abc", "abc"));
  CHECK_FALSE(equal_in_constant_time("abd", "abc"));
  CHECK_FALSE(equal_in_constant_time("ab", "abc"));
  CHECK_FALSE(equal_in_constant_time("abcabc", "abc"));
  CHECK_FALSE(equal_in_constant_time("", "abc"));
  CHECK_FALSE(equal_in_constant_time("abc", ""));
}

TEST_CASE("a port that is taken, or an address that is not ours, is refused by name") {
  const Server server;
  HttpOptions options;
  options.port = std::stoi(server.url().substr(server.url().rfind(':') + 1));
  HttpServer second(options, routes(), [](const Finished&) {});
  try {
    second.start();
    FAIL("it started");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    CHECK_THAT(error.what(), ContainsSubstring(std::to_string(options.port)));
  }
  options.access.host = "192.0.2.1";  // an address of RFC 5737, which no machine has
  HttpServer third(options, routes(), [](const Finished&) {});
  CHECK_THROWS_AS(third.start(), Error);
}

TEST_CASE("a server that stops answers what came before and takes nothing more") {
  Server server;
  RawClient idle(server.url()), late(server.url());
  idle.send("GET /open HTTP/1.1\r\nHost: seer.localhost\r\n\r\n");
  CHECK_THAT(idle.read_until("\"open\""), ContainsSubstring(" 200 "));
  late.send("GET /open HTTP/1.1\r\nHost: seer.localhost\r\n");  // half a request
  while (server.http.n_active() == 0) std::this_thread::yield();
  server.http.stop_accepting();
  late.send("\r\n");
  const std::string answer = late.read_to_end();
  CHECK_THAT(answer, ContainsSubstring("\"open\""));
  CHECK_THAT(answer, ContainsSubstring("Connection: close"));
  CHECK(idle.read_to_end().empty());
  server.http.join(false);
  CHECK_THROWS(RawClient(server.url()));
}

TEST_CASE("tasks beyond the threads wait and are all run") {
  WorkerThreads threads(3);
  std::mutex mutex;
  std::condition_variable wake;
  int n_inside = 0, most_inside = 0, n_done = 0;
  for (int i = 0; i < 50; ++i)
    threads.enqueue(&mutex, [&] {
      std::unique_lock lock(mutex);
      most_inside = std::max(most_inside, ++n_inside);
      wake.notify_all();
      // The first three requests hold their threads until all three are there.
      wake.wait(lock, [&] { return most_inside == 3; });
      --n_inside;
      ++n_done;
    });
  threads.shutdown();
  CHECK(n_done == 50);
  CHECK(most_inside == 3);
}

}  // namespace
}  // namespace seer::serve
