// Divides a template into tokens, with jinja2's trim_blocks and lstrip_blocks applied.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace seer::jinja {

enum class TokenKind {
  kData,
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // of data, a name, an operator; a string literal without quotes and escapes
  int64_t integer = 0;
  double real = 0;
};

// Throws Error{kFile} for an error that jinja2 calls a syntax error, and Error{kUnsupported} for literals
// that are not supported. Both begin with "NAME:LINE: ".
std::vector<Token> tokenize(std::string_view source, const std::string& name);

// Returns the name of a token for an error message.
std::string describe(const Token& token);

[[noreturn]] void syntax_error(const std::string& name, int line, const std::string& message);
[[noreturn]] void not_supported(const std::string& name, int line, const std::string& message);

}  // namespace seer::jinja
