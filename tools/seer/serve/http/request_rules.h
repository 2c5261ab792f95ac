// Decides which requests are answered, from a request's head, before any of its body is read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/http/message.h"

namespace seer::serve {

class Exchange;

// A handler throws ApiError to refuse.
using Handler = std::function<void(Exchange& exchange)>;

struct Route {
  std::string method;  // "GET", which also answers HEAD, or "POST"
  std::string path;    // matches with or without a '/' at its end; one that ends in '/' here stands for
                       // everything below it, but "/" for itself alone
  Handler handler;
  // An open route tells nothing that needs protection, asks for no key, and returns at once. It is answered
  // even if every thread is busy.
  bool open = false;
  bool urgent = false;  // answered on connections beyond --max-connections too; such a route is open
};

// The rules that say who may send requests.
struct AccessRules {
  std::string host = "127.0.0.1";          // the address to listen on
  std::string api_key;                     // empty if no key is asked for
  std::vector<std::string> cors_origins;   // origins whose pages may send requests; "*" is any
  std::vector<std::string> allowed_hosts;  // names besides this machine's own; "*" is any
};

struct Admission {
  const Route* route = nullptr;     // may be set with a refusal too; null for a preflight
  std::optional<ApiError> refusal;  // absent if the request is wanted
  std::string allow;                // with a 405: the methods that this address has
  bool preflight = false;           // the request is a CORS preflight; answer it with preflight_response()
};

class RequestRules {
 public:
  RequestRules(AccessRules access, std::vector<Route> routes);

  Admission admit(const RequestHead& head) const;
  Response preflight_response(const RequestHead& head) const;
  // Returns the fields that let a page of another origin read the answer: empty, or lines that end with
  // "\r\n".
  std::string cors_fields(const RequestHead& head) const;

 private:
  void find_route(const RequestHead& head, Admission* admission) const;
  static std::optional<std::string> check_host(const RequestHead& head);
  void check_name(const std::string& name) const;
  void check_origin(const RequestHead& head) const;
  void check_key(const RequestHead& head) const;
  bool is_allowed_origin(const std::string& origin) const;
  bool is_own_name(const std::string& name) const;

  const AccessRules access_;
  const std::vector<Route> routes_;
  const std::string machine_;  // its name
};

// Compares two texts. A wrong text takes as long as the right one of that length.
bool equal_in_constant_time(const std::string& given, const std::string& secret);

// Returns whether only programs on this machine can reach `host`: "127.0.0.1", "::1", "localhost".
bool is_loopback(const std::string& host);

}  // namespace seer::serve
