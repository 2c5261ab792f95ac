#include "tools/seer/serve/api_error.h"

#include <new>
#include <utility>

#include "seer/error.h"

namespace seer::serve {
namespace {

const char* type_of(int status) {
  switch (status) {
    case kUnauthorized:
      return "authentication_error";
    case kTooManyRequests:
      return "rate_limit_error";
    default:
      return status < kServerError ? "invalid_request_error" : "server_error";
  }
}

OrderedJson or_null(const std::string& text) { return text.empty() ? OrderedJson() : OrderedJson(text); }

std::string without_zeros(std::string message) {
  for (size_t at = 0; (at = message.find('\0', at)) != std::string::npos;) message.replace(at, 1, "\\x00");
  return message;
}

ApiError of_engine(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kUsage:
    case ErrorKind::kUnsupported:
    case ErrorKind::kFile:  // a text was given for a model without a tokenizer
      return {kBadRequest, error.what()};
    case ErrorKind::kMemory:
      return {kUnavailable, error.what(), "", "out_of_memory"};
    case ErrorKind::kCancelled:
      return {kUnavailable, error.what(), "", "cancelled"};
    case ErrorKind::kDevice:
      return {kServerError, error.what(), "", kDeviceFailed};
    case ErrorKind::kRuntime:
      break;
  }
  return {kServerError, error.what()};
}

}  // namespace

ApiError::ApiError(int status, std::string message, std::string param, std::string code)
    : std::runtime_error(without_zeros(std::move(message))),
      status_(status),
      param_(std::move(param)),
      code_(std::move(code)) {}

OrderedJson ApiError::to_json() const {
  return {{"error",
           {{"message", what()},
            {"type", type_of(status_)},
            {"param", or_null(param_)},
            {"code", or_null(code_)}}}};
}

ApiError api_error(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ApiError& error) {
    return error;
  } catch (const Error& error) {
    return of_engine(error);
  } catch (const std::bad_alloc&) {
    return {kUnavailable, "the server is out of memory", "", "out_of_memory"};
  } catch (const std::exception& error) {
    return {kServerError, error.what()};
  } catch (...) {
    return {kServerError, "something unknown failed"};
  }
}

}  // namespace seer::serve
