// The tokens of a template, with jinja2's trim_blocks and lstrip_blocks applied.
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

// Throws Error{kFile} for what jinja2 calls a syntax error, Error{kUnsupported} for literals that are not
// supported; both begin with "NAME:LINE: ".
std::vector<Token> tokenize(std::string_view source, const std::string& name);

// How an error message names a token.
std::string describe(const Token& token);

[[noreturn]] void syntax_error(const std::string& name, int line, const std::string& message);
[[noreturn]] void not_supported(const std::string& name, int line, const std::string& message);

}  // namespace seer::jinja
