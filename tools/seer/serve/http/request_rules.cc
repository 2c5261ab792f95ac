#include "tools/seer/serve/http/request_rules.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

namespace seer::serve {
namespace {

bool matches(const Route& route, const std::string& path) {
  if (route.path == "/") return path == "/";
  if (route.path.ends_with('/')) return path.size() > route.path.size() && path.starts_with(route.path);
  return path == route.path || path == route.path + '/';
}

std::string effective_method(const std::string& method) { return method == "HEAD" ? "GET" : method; }

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> bytes = {};
  return ::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

// Returns the name in "name:port" or "[v6]:port", in lower case, or nothing if the text has neither form.
std::optional<std::string> name_of(const std::string& host) {
  size_t end = host.find(':');
  if (host.starts_with('[')) {
    end = host.find(']');
    if (end == std::string::npos) return std::nullopt;
    const std::string_view rest = std::string_view(host).substr(end + 1);
    if (!rest.empty() &&
        (!rest.starts_with(':') || rest.find_first_not_of("0123456789", 1) != std::string_view::npos))
      return std::nullopt;
    return lower(host.substr(1, end - 1));
  }
  const std::string_view port = end == std::string::npos ? "" : std::string_view(host).substr(end + 1);
  if (port.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const std::string name = lower(host.substr(0, end));
  if (name.empty()) return std::nullopt;
  return name;
}

std::string machine_name() {
  std::array<char, 256> name = {};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? lower(name.data()) : "";
}

// Accepts JSON and forms, which "curl -d" says it sends. A web page can send forms and plain text to any
// server, but not without naming its origin.
void check_content_type(const RequestHead& head) {
  const std::string* field = head.find("content-type");
  if (field == nullptr) return;
  const std::string type = lower(trimmed(std::string_view(*field).substr(0, field->find(';'))));
  if (type == "application/json" || type == "application/x-www-form-urlencoded") return;
  if (type.starts_with("application/") && type.ends_with("+json")) return;
  throw ApiError(
      kUnsupportedMedia,
      "expected a body of JSON with 'Content-Type: application/json', found '" + type.substr(0, 100) + "'",
      "", "unsupported_media_type");
}

void check_encoding(const RequestHead& head) {
  const std::string* encoding = head.find("content-encoding");
  if (encoding != nullptr && lower(*encoding) != "identity")
    throw ApiError(kUnsupportedMedia, "compressed bodies are not taken: send it without Content-Encoding", "",
                   "unsupported_encoding");
}

// Throws if there is a body. The server would not read it, and a client without a key must not make the
// server hold it.
void check_no_body(const RequestHead& head) {
  if (head.has_body)
    throw ApiError(kBadRequest, "expected no body with " + head.method, "", "unexpected_body");
}

void check_expectation(const RequestHead& head) {
  const std::string* expected = head.find("expect");
  if (expected != nullptr && lower(*expected) != "100-continue")
    throw ApiError(kExpectationFailed, "expected no Expect but '100-continue'", "", "invalid_http");
}

}  // namespace

bool equal_in_constant_time(const std::string& given, const std::string& secret) {
  unsigned char differ = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    differ |= static_cast<unsigned char>(given[i] ^ secret[secret.empty() ? 0 : i % secret.size()]);
  return differ == 0;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || (host.starts_with("127.") && is_address(host));
}

RequestRules::RequestRules(AccessRules access, std::vector<Route> routes)
    : access_(std::move(access)), routes_(std::move(routes)), machine_(machine_name()) {}

Admission RequestRules::admit(const RequestHead& head) const {
  Admission admission;
  try {
    const std::optional<std::string> name = check_host(head);
    admission.preflight = head.method == "OPTIONS" && !access_.cors_origins.empty();
    check_origin(head);
    if (admission.preflight) {
      check_no_body(head);
      return admission;
    }
    find_route(head, &admission);
    if (!admission.route->open) {
      if (name) check_name(*name);
      check_key(head);
    }
    check_expectation(head);
    if (head.method != "POST") {
      check_no_body(head);
      return admission;
    }
    check_encoding(head);
    check_content_type(head);
  } catch (const ApiError& error) {
    admission.refusal = error;
  }
  return admission;
}

void RequestRules::find_route(const RequestHead& head, Admission* admission) const {
  for (const Route& route : routes_) {
    if (!matches(route, head.path)) continue;
    admission->route = &route;
    if (route.method == effective_method(head.method)) return;
    admission->allow += (admission->allow.empty() ? "" : ", ") + route.method;
  }
  if (admission->route != nullptr)
    throw ApiError(kMethodNotAllowed,
                   head.method + " is not for " + head.shown_path + ": expected " + admission->allow, "",
                   "method_not_allowed");
  throw ApiError(kNotFound, "there is no " + head.shown_path + " here", "", "unknown_url");
}

// Returns the name in the Host field, or nothing if an HTTP/1.0 request has none.
std::optional<std::string> RequestRules::check_host(const RequestHead& head) {
  const size_t n = head.count("host");
  if (n > 1 || (n == 0 && head.version > 10))
    throw ApiError(kBadRequest, "not valid HTTP: expected one Host, found " + std::to_string(n), "",
                   "invalid_http");
  if (n == 0) return std::nullopt;
  std::optional<std::string> name = name_of(*head.find("host"));
  if (!name)
    throw ApiError(kBadRequest, "not valid HTTP: expected a Host of the form 'name:port'", "",
                   "invalid_http");
  return name;
}

// Throws for a foreign name. A page on the network can make its own name resolve to this server's address
// (DNS rebinding). Its requests then count as of the same origin, but they carry its name. Addresses cannot
// be rebound. If a key is asked for, the page would have to know it, so the name need not be checked.
void RequestRules::check_name(const std::string& name) const {
  if (!access_.api_key.empty() || is_own_name(name)) return;
  const std::string shown = name.substr(0, 100);
  throw ApiError(kForbidden,
                 "'" + shown + "' is not a name of this server: start it with '--allowed-host " + shown +
                     "' or with an API key, or ask by its address",
                 "", "unknown_host");
}

bool RequestRules::is_own_name(const std::string& name) const {
  if (is_address(name) || name == "localhost" || name.ends_with(".localhost")) return true;
  if (name == lower(access_.host) || (!machine_.empty() && name == machine_)) return true;
  return std::any_of(access_.allowed_hosts.begin(), access_.allowed_hosts.end(),
                     [&](const std::string& allowed) { return allowed == "*" || lower(allowed) == name; });
}

// Throws for a foreign origin. Browsers name the page's origin with every request that could change
// something; programs send none.
void RequestRules::check_origin(const RequestHead& head) const {
  const std::string* origin = head.find("origin");
  if (origin == nullptr || is_allowed_origin(*origin)) return;
  if (const std::string* host = head.find("host"); host != nullptr) {
    const std::string own = lower(*host), given = lower(*origin);
    if (given == "http://" + own || given == "https://" + own) return;
  }
  throw ApiError(kForbidden,
                 "pages of '" + origin->substr(0, 100) +
                     "' may not ask this server: name their origin with --cors-origin if they should",
                 "", "origin_not_allowed");
}

bool RequestRules::is_allowed_origin(const std::string& origin) const {
  return std::any_of(access_.cors_origins.begin(), access_.cors_origins.end(),
                     [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

void RequestRules::check_key(const RequestHead& head) const {
  if (access_.api_key.empty()) return;
  static const std::string kBearer = "bearer ";  // upper and lower case are the same in schemes
  const std::string* header = head.find("authorization");
  if (header == nullptr)
    throw ApiError(kUnauthorized, "no API key: expected a header 'Authorization: Bearer KEY'", "",
                   "invalid_api_key");
  const bool is_bearer = lower(header->substr(0, kBearer.size())) == kBearer;
  if (!is_bearer || head.count("authorization") > 1 ||
      !equal_in_constant_time(std::string(trimmed(header->substr(kBearer.size()))), access_.api_key))
    throw ApiError(kUnauthorized, "the API key is not this server's", "", "invalid_api_key");
}

Response RequestRules::preflight_response(const RequestHead& head) const {
  Response response;
  response.status = kNoContent;
  // The usual JavaScript client sends headers of its own, so every header that it asks for is allowed.
  const std::string* asked = head.find("access-control-request-headers");
  const bool names =
      asked != nullptr && !asked->empty() && std::all_of(asked->begin(), asked->end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == ',' || c == ' ';
      });
  response.fields = {{"Access-Control-Allow-Methods", "GET, POST"},
                     {"Access-Control-Allow-Headers", names ? *asked : "Authorization, Content-Type"},
                     {"Access-Control-Max-Age", "86400"}};
  return response;
}

std::string RequestRules::cors_fields(const RequestHead& head) const {
  if (access_.cors_origins.empty()) return "";
  std::string vary = "Vary: Origin\r\n";
  if (is_allowed_origin("*")) return "Access-Control-Allow-Origin: *\r\n" + vary;
  const std::string* origin = head.find("origin");
  if (origin == nullptr || !is_allowed_origin(*origin)) return vary;
  return "Access-Control-Allow-Origin: " + *origin + "\r\n" + vary;
}

}  // namespace seer::serve
