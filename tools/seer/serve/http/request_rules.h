// Which requests are answered: decided by a request's head, before any of its body is read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/http/message.h"

namespace seer::serve {

class Exchange;

// Throws ApiError to refuse.
using Handler = std::function<void(Exchange& exchange)>;

struct Route {
  std::string method;  // "GET", which answers HEAD too, or "POST"
  std::string path;    // with or without a '/' at its end; one that has it here stands for everything below
  Handler handler;
  // It tells nothing that needs protection, asks for no key, and returns at once: it is answered even if
  // every thread is busy.
  bool open = false;
};

// Who may ask.
struct AccessRules {
  std::string host = "127.0.0.1";          // the address that is listened on
  std::string api_key;                     // empty: none is asked for
  std::vector<std::string> cors_origins;   // whose pages may ask; "*" is any
  std::vector<std::string> allowed_hosts;  // names besides this machine's own; "*" is any
};

struct Admission {
  const Route* route = nullptr;     // may be set with a refusal too; null with a preflight
  std::optional<ApiError> refusal;  // nothing: the request is wanted
  std::string allow;                // with a 405: the methods that are for this address
  bool preflight = false;           // it asks for CORS, and preflight_response() is the answer
};

class RequestRules {
 public:
  RequestRules(AccessRules access, std::vector<Route> routes);

  Admission admit(const RequestHead& head) const;
  Response preflight_response(const RequestHead& head) const;
  // The fields that let a page of another origin read the answer; empty, or lines that end with "\r\n".
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

// Takes as long for a wrong text as for the right one of that length.
bool equal_in_constant_time(const std::string& given, const std::string& secret);

// Whether only programs on this machine reach it: "127.0.0.1", "::1", "localhost".
bool is_loopback(const std::string& host);

}  // namespace seer::serve
