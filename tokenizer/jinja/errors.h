// Errors of a template while it is rendered, by the Python exception that jinja2 gives.
#pragma once

#include <stdexcept>
#include <string>

namespace seer::jinja {

enum class ErrorType {
  kTypeError,
  kValueError,
  kUndefinedError,
  kSecurityError,
  kLookupError,
  kArithmeticError,
  kRuntimeError,
  kRaised,       // raise_exception: the template's own words
  kUnsupported,  // Python would go on
};

class RenderError : public std::runtime_error {
 public:
  RenderError(ErrorType type, const std::string& message) : std::runtime_error(message), type_(type) {}
  ErrorType type() const { return type_; }

 private:
  ErrorType type_;
};

[[noreturn]] inline void fail(ErrorType type, const std::string& message) {
  throw RenderError(type, message);
}

}  // namespace seer::jinja
