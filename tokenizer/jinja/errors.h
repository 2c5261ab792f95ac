// Errors while a template is rendered, by the Python exception that jinja2 raises.
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
  kRaised,       // raise_exception, with the template's own words
  kUnsupported,  // not an error in Python
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
