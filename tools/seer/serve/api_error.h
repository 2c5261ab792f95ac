// The refusal of a request: the API's error object and its HTTP status.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include "engine/base/json.h"

namespace seer::serve {

// The HTTP statuses that this server answers with.
enum Status {
  kOk = 200,
  kNoContent = 204,
  kNotModified = 304,
  kBadRequest = 400,
  kUnauthorized = 401,
  kForbidden = 403,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kRequestTimeout = 408,
  kBodyTooLarge = 413,
  kTargetTooLong = 414,
  kUnsupportedMedia = 415,
  kExpectationFailed = 417,
  kTooManyRequests = 429,
  kHeadTooLarge = 431,
  kClientGone = 499,  // never sent; for logs and metrics, as in nginx
  kServerError = 500,
  kNotImplemented = 501,
  kUnavailable = 503,
  kVersionNotSupported = 505,
};

inline constexpr const char* kDeviceFailed = "device_failed";  // an error code: nothing can be computed any
                                                               // more

class ApiError : public std::runtime_error {
 public:
  // `param` is the field at fault, and `code` is for programs; an empty one is null in the object. A NUL byte
  // in the message is shown as "\x00", since what() would end there.
  ApiError(int status, std::string message, std::string param = "", std::string code = "");
  int status() const { return status_; }
  const std::string& code() const { return code_; }
  OrderedJson to_json() const;  // {"error": {"message", "type", "param", "code"}}

 private:
  int status_;
  std::string param_, code_;
};

// Returns an ApiError for anything thrown: the engine's errors by their kind, anything else as 500.
ApiError api_error(const std::exception_ptr& thrown);

}  // namespace seer::serve
