// The page at /: who gets it, and with which headers. tests/serve/ui_test.py drives it in a browser.
#include "tools/seer/serve/ui_route.h"

#include "tests/serve/api_server.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/ui_page.h"

namespace seer::serve {
namespace {

using testing::ApiServer;
using testing::engine_with;
using testing::get;
using testing::named;
using testing::RawClient;

std::shared_ptr<testing::FakeEngine> some_engine() {
  return engine_with({{"one"}, std::nullopt, false, false});
}

std::string ask(const ApiServer& server, const std::string& method, const std::string& fields = "",
                const std::string& path = "/") {
  RawClient client(server.http.url());
  client.send(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields +
              "\r\n");
  return client.read_to_end();
}

std::string head_of(const std::string& answer) { return answer.substr(0, answer.find("\r\n\r\n") + 2); }
std::string page_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

TEST_CASE("the page is served as HTML that may use nothing but itself and its server") {
  const ApiServer server(some_engine());
  const std::string answer = get(server.http.url(), "/");
  const std::string head = head_of(answer);
  CHECK(head.starts_with("HTTP/1.1 200 "));
  CHECK_THAT(head, ContainsSubstring("\r\nContent-Type: text/html; charset=utf-8\r\n"));
  CHECK(page_of(answer) == ui_page().html);
  CHECK_THAT(head, ContainsSubstring("\r\nContent-Security-Policy: default-src 'none'; script-src " +
                                     std::string(ui_page().script) + "; style-src " +
                                     std::string(ui_page().style) + "; connect-src 'self'; "));
  for (const char* part : {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
                           "require-trusted-types-for 'script'", "\r\nX-Content-Type-Options: nosniff\r\n",
                           "\r\nReferrer-Policy: no-referrer\r\n"})
    CHECK_THAT(head, ContainsSubstring(part));
  CHECK(head.find("unsafe") == std::string::npos);
  CHECK(ui_page().script.starts_with("'sha256-"));
}

TEST_CASE("HEAD gets the page's head alone") {
  const ApiServer server(some_engine());
  const std::string answer = ask(server, "HEAD");
  CHECK(answer.starts_with("HTTP/1.1 200 "));
  CHECK(page_of(answer).empty());
  CHECK_THAT(answer,
             ContainsSubstring("\r\nContent-Length: " + std::to_string(ui_page().html.size()) + "\r\n"));
  CHECK_THAT(ask(server, "POST"), ContainsSubstring("HTTP/1.1 405 "));
}

TEST_CASE("a browser that has the page is told so, and one that has another gets it") {
  const ApiServer server(some_engine());
  const std::string etag(ui_page().etag);
  const std::string first = head_of(get(server.http.url(), "/"));
  CHECK_THAT(first, ContainsSubstring("\r\nCache-Control: no-cache\r\n"));
  CHECK_THAT(first, ContainsSubstring("\r\nETag: " + etag + "\r\n"));
  const std::string again = ask(server, "GET", "If-None-Match: " + etag + "\r\n");
  CHECK(again.starts_with("HTTP/1.1 304 Not Modified\r\n"));
  CHECK(page_of(again).empty());
  CHECK_THAT(again, ContainsSubstring("\r\nETag: " + etag + "\r\n"));
  CHECK_THAT(again, ContainsSubstring("Content-Security-Policy: "));
  CHECK(again.find("Content-Length") == std::string::npos);
  CHECK(again.find("Content-Type:") == std::string::npos);
  CHECK(page_of(ask(server, "GET", "If-None-Match: \"other\"\r\n")) == ui_page().html);
}

TEST_CASE("the page is served without the key that the API needs, and while the model loads") {
  const ApiServer server(nullptr, named(), {}, "secret");
  CHECK(page_of(get(server.http.url(), "/")) == ui_page().html);
  CHECK_THAT(get(server.http.url(), "/v1/models"), ContainsSubstring("HTTP/1.1 401 "));
  CHECK_THAT(ask(server, "GET", "Authorization: Bearer secret\r\n", "/v1/models"),
             ContainsSubstring("HTTP/1.1 503 "));
  CHECK(ui_page().html.find("secret") == std::string_view::npos);
}

TEST_CASE("the page is at / alone") {
  const ApiServer server(some_engine());
  CHECK_THAT(get(server.http.url(), "/?x=1"), ContainsSubstring("HTTP/1.1 200 "));
  for (const char* other : {"/index.html", "//", "/page.js"})
    CHECK_THAT(get(server.http.url(), other), ContainsSubstring("HTTP/1.1 404 "));
}

TEST_CASE("without the page / is an unknown address") {
  ServiceOptions options = named();
  options.ui = false;
  for (const char* key : {"", "secret"}) {
    const ApiServer server(some_engine(), options, {}, key);
    const std::string answer = get(server.http.url(), "/");
    CHECK(answer.starts_with("HTTP/1.1 404 "));
    CHECK_THAT(answer, ContainsSubstring("\"code\":\"unknown_url\""));
    CHECK(answer.find("Content-Security-Policy") == std::string::npos);
  }
}

}  // namespace
}  // namespace seer::serve
