// Which clients may ask for what, decided by a request's head.
#include "tools/seer/serve/http/request_rules.h"

#include <unistd.h>

#include "tests/support/catch.h"
#include "tools/seer/serve/http/exchange.h"

namespace seer::serve {
namespace {

std::vector<Route> rule_routes() {
  return {{"GET", "/open", {}, true}, {"GET", "/closed", {}}, {"POST", "/post", {}}, {"GET", "/post", {}}};
}

RequestHead head_of(const std::string& method, const std::string& path, std::vector<Field> fields = {}) {
  RequestHead head;
  head.method = method;
  head.target = head.path = path;
  head.fields = std::move(fields);
  if (head.count("host") == 0) head.fields.push_back({"host", "localhost:8080"});
  return head;
}

// Returns the status of the refusal, or 200 if the request is wanted.
int status(const AccessRules& access, const RequestHead& head) {
  const Admission admission = RequestRules(access, rule_routes()).admit(head);
  return admission.refusal ? admission.refusal->status() : 200;
}

int status_for_host(const AccessRules& access, const std::string& host) {
  return status(access, head_of("GET", "/closed", {{"host", host}}));
}

TEST_CASE("without a key a server is asked by an address or a name of its own") {
  AccessRules access;
  for (const char* own :
       {"localhost", "LOCALHOST:80", "a.localhost", "127.0.0.1:8080", "10.1.2.3", "[::1]:8080", "[fe80::1]"})
    CHECK(status_for_host(access, own) == 200);
  char name[256] = {};
  REQUIRE(::gethostname(name, sizeof name - 1) == 0);
  CHECK(status_for_host(access, name) == 200);
  for (const char* foreign : {"evil.example", "localhost.evil.example", "evil.example:8080",
                              "127.0.0.1.evil.example", "xlocalhost"})
    CHECK(status_for_host(access, foreign) == 403);
  for (const char* bad : {"", ":80", "[::1", "[::1]x", "localhost:80x", "a:b:c", "[::1]:x"})
    CHECK(status_for_host(access, bad) == 400);
  // This route tells nothing, and monitors ask for it by any name.
  CHECK(status(access, head_of("GET", "/open", {{"host", "evil.example"}})) == 200);

  access.allowed_hosts = {"seer.example"};
  CHECK(status_for_host(access, "Seer.Example:8080") == 200);
  CHECK(status_for_host(access, "evil.example") == 403);
  access.allowed_hosts = {"*"};
  CHECK(status_for_host(access, "evil.example") == 200);

  access = {};
  access.host = "seer.example";
  CHECK(status_for_host(access, "seer.example") == 200);
}

TEST_CASE("with a key every name will do, but the key is asked for") {
  AccessRules access;
  access.api_key = "k";
  CHECK(status(access, head_of("GET", "/closed", {{"host", "any.example"}, {"authorization", "Bearer k"}})) ==
        200);
  CHECK(status(access, head_of("GET", "/closed", {{"host", "any.example"}})) == 401);
  CHECK(status(access, head_of("GET", "/open", {{"host", "any.example"}})) == 200);
  CHECK(status(access, head_of("GET", "/closed",
                               {{"authorization", "Bearer k"}, {"authorization", "Bearer x"}})) == 401);
}

TEST_CASE("a request has one Host, but for HTTP/1.0") {
  CHECK(status({}, head_of("GET", "/open", {{"host", "localhost"}, {"host", "localhost"}})) == 400);
  RequestHead head = head_of("GET", "/open");
  head.fields.clear();
  CHECK(status({}, head) == 400);
  head.version = 10;
  CHECK(status({}, head) == 200);
}

TEST_CASE("pages of other origins may not ask unless they are named") {
  AccessRules access;
  const auto from = [&](const std::string& origin) {
    return status(access, head_of("POST", "/post", {{"origin", origin}}));
  };
  CHECK(from("http://localhost:8080") == 200);
  CHECK(from("https://localhost:8080") == 200);
  for (const char* foreign :
       {"http://localhost", "http://localhost:3000", "https://evil.example", "null", ""})
    CHECK(from(foreign) == 403);
  access.cors_origins = {"https://page.example", "https://other.example"};
  CHECK(from("https://page.example") == 200);
  CHECK(from("https://other.example") == 200);
  CHECK(from("https://page.example.evil.example") == 403);
  access.cors_origins = {"*"};
  CHECK(from("https://evil.example") == 200);
}

TEST_CASE("a page of an allowed origin gets an answer to its preflight request") {
  AccessRules access;
  access.cors_origins = {"https://page.example", "https://other.example"};
  const RequestRules rules(access, rule_routes());
  const RequestHead asks =
      head_of("OPTIONS", "/post",
              {{"origin", "https://other.example"}, {"access-control-request-headers", "x-a, x-b"}});
  CHECK(rules.admit(asks).preflight);
  CHECK_FALSE(rules.admit(asks).refusal);
  CHECK(rules.cors_fields(asks) == "Access-Control-Allow-Origin: https://other.example\r\nVary: Origin\r\n");
  const Response response = rules.preflight_response(asks);
  CHECK(response.status == 204);
  CHECK(response.fields[1].value == "x-a, x-b");
  const RequestHead forged = head_of(
      "OPTIONS", "/post", {{"access-control-request-headers", "a:b"}, {"origin", "https://other.example"}});
  CHECK(rules.preflight_response(forged).fields[1].value == "Authorization, Content-Type");
  CHECK(rules.cors_fields(head_of("GET", "/open")) == "Vary: Origin\r\n");
  CHECK(RequestRules({}, rule_routes()).cors_fields(asks).empty());
  CHECK(status({}, asks) == 403);
}

TEST_CASE("a body is JSON and not compressed") {
  const auto with = [](const std::string& name, const std::string& value) {
    return status({}, head_of("POST", "/post", {{name, value}}));
  };
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json",
                           "application/x-www-form-urlencoded"})
    CHECK(with("content-type", type) == 200);
  for (const char* type : {"text/plain", "multipart/form-data; boundary=x", "application/xml", "", "json"})
    CHECK(with("content-type", type) == 415);
  CHECK(with("content-encoding", "identity") == 200);
  for (const char* encoding : {"gzip", "br", "deflate", "gzip, identity"})
    CHECK(with("content-encoding", encoding) == 415);
  CHECK(with("expect", "100-Continue") == 200);
  CHECK(with("expect", "200-ok") == 417);
}

TEST_CASE("a body comes with POST alone, so that nobody without a key has one held") {
  AccessRules access;
  access.api_key = "k";
  access.cors_origins = {"*"};
  for (const auto& [method, path] : std::vector<std::pair<std::string, std::string>>{
           {"GET", "/open"}, {"HEAD", "/open"}, {"OPTIONS", "/post"}}) {
    RequestHead head = head_of(method, path);
    CHECK(status(access, head) == 200);
    head.has_body = true;
    CHECK(status(access, head) == 400);
  }
}

TEST_CASE("a method that an address does not have is refused with the methods that it has") {
  const Admission admission = RequestRules({}, rule_routes()).admit(head_of("DELETE", "/post"));
  REQUIRE(admission.refusal);
  CHECK(admission.refusal->status() == 405);
  CHECK(admission.allow == "POST, GET");
  CHECK(status({}, head_of("HEAD", "/closed")) == 200);
  CHECK(status({}, head_of("GET", "/nothing")) == 404);
  CHECK(status({}, head_of("OPTIONS", "/post")) == 405);
}

TEST_CASE("loopback addresses are known") {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "::1", "localhost"}) CHECK(is_loopback(host));
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "127.evil.example", "seer.example"})
    CHECK_FALSE(is_loopback(host));
}

}  // namespace
}  // namespace seer::serve
