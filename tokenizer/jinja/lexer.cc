#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "seer/error.h"
#include "tokenizer/jinja/literals.h"
#include "tokenizer/jinja/unicode.h"

namespace seer::jinja {
namespace {

// Turns every line end into \n, and drops one at the very end.
std::string with_plain_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text.push_back(source[i]);
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : source_(with_plain_lines(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_root();
    push(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  bool looking_at(std::string_view text, size_t at) const {
    return std::string_view(source_).substr(std::min(at, source_.size())).substr(0, text.size()) == text;
  }
  size_t skip_spaces(size_t at) const { return at + leading_spaces(std::string_view(source_).substr(at)); }
  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text), 0, 0}); }
  // Moves to byte `to`.
  void advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    line_starting_ = to > at_ && source_[to - 1] == '\n';
    at_ = to;
  }

  void read_root();
  void push_data(size_t begin, size_t end, char sign, bool may_strip);
  size_t raw_begin_end(size_t at) const;
  void read_raw(size_t data_begin);
  void read_comment();
  void read_tag(bool block);
  size_t tag_end(size_t at, bool block) const;
  void read_token();
  void read_number();
  void read_string();
  void read_operator();

  std::string source_;
  const std::string& name_;
  std::vector<Token> tokens_;
  std::vector<char> open_;  // brackets that are still open within the tag
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

// Returns the end of a "{% raw %}" that begins at `at`, or 0 if there is none.
size_t Lexer::raw_begin_end(size_t at) const {
  size_t i = at + 2;
  if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
  i = skip_spaces(i);
  if (!looking_at("raw", i)) return 0;
  i = skip_spaces(i + 3);
  if (looking_at("-%}", i)) return skip_spaces(i + 3);
  return looking_at("%}", i) ? i + 2 : 0;
}

void Lexer::read_root() {
  size_t tag = at_;
  for (;; ++tag) {
    tag = source_.find('{', tag);
    if (tag == std::string::npos || tag + 1 >= source_.size()) {
      push_data(at_, source_.size(), '+', false);
      return advance(source_.size());
    }
    const char next = source_[tag + 1];
    if (next == '%' || next == '{' || next == '#') break;
  }
  const char kind = source_[tag + 1];
  const size_t raw_end = kind == '%' ? raw_begin_end(tag) : 0;
  size_t end = tag + 2;
  const char sign = end < source_.size() && (source_[end] == '-' || source_[end] == '+') ? source_[end] : ' ';
  if (sign != ' ') ++end;
  push_data(at_, tag, sign, kind != '{');
  if (raw_end != 0) {
    advance(raw_end);
    return read_raw(raw_end);
  }
  advance(tag);
  if (kind != '#') push(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, {});
  advance(end);
  if (kind == '#') return read_comment();
  read_tag(kind == '%');
}

// Adds the text before a tag, stripped as the tag's sign or lstrip_blocks asks.
void Lexer::push_data(size_t begin, size_t end, char sign, bool may_strip) {
  std::string_view text = std::string_view(source_).substr(begin, end - begin);
  if (sign == '-') {
    text.remove_suffix(trailing_spaces(text));
  } else if (sign != '+' && may_strip) {
    const size_t newline = text.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if ((line > 0 || line_starting_) && line < text.size() &&
        leading_spaces(text.substr(line)) == text.size() - line)
      text = text.substr(0, line);
  }
  if (!text.empty()) push(TokenKind::kData, std::string(text));
}

void Lexer::read_raw(size_t data_begin) {
  const int line = line_;
  for (size_t tag = source_.find("{%", data_begin); tag != std::string::npos;
       tag = source_.find("{%", tag + 1)) {
    size_t i = tag + 2;
    const char sign = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i] : ' ';
    if (sign != ' ') ++i;
    i = skip_spaces(i);
    if (!looking_at("endraw", i)) continue;
    i = skip_spaces(i + 6);
    const size_t end = tag_end(i, true);
    if (end == 0) continue;
    push_data(data_begin, tag, sign, true);
    return advance(end);
  }
  syntax_error(name_, line, "Missing end of raw directive");
}

void Lexer::read_comment() {
  const size_t close = source_.find("#}", at_);
  if (close == std::string::npos) syntax_error(name_, line_, "Missing end of comment tag");
  const char sign = close > at_ ? source_[close - 1] : ' ';
  size_t end = close + 2;
  if (sign == '-') {
    end = skip_spaces(end);
  } else if (sign != '+' && looking_at("\n", end)) {
    ++end;
  }
  advance(end);
}

// Returns the end of a tag's closing mark at `at`, with the white space that it strips, or 0 if there is
// none.
size_t Lexer::tag_end(size_t at, bool block) const {
  const std::string_view mark = block ? "%}" : "}}";
  if (looking_at("-", at) && looking_at(mark, at + 1)) return skip_spaces(at + 3);
  if (block && looking_at("+", at) && looking_at(mark, at + 1)) return at + 3;
  if (!looking_at(mark, at)) return 0;
  return block && looking_at("\n", at + 2) ? at + 3 : at + 2;
}

void Lexer::read_tag(bool block) {
  open_.clear();
  while (true) {
    if (at_ >= source_.size()) return;  // the parser reports the missing end
    const size_t end = open_.empty() ? tag_end(at_, block) : 0;
    if (end != 0) {
      push(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, {});
      return advance(end);
    }
    read_token();
  }
}

void Lexer::read_token() {
  const size_t spaces = leading_spaces(std::string_view(source_).substr(at_));
  if (spaces > 0) return advance(at_ + spaces);
  const char c = source_[at_];
  if (digit(c)) return read_number();
  const std::string_view rest = std::string_view(source_).substr(at_);
  if (is_identifier_start(point_at(rest, 0))) {
    size_t end = 0;
    while (end < rest.size() && is_identifier_part(point_at(rest, end))) end += point_size(rest[end]);
    push(TokenKind::kName, std::string(rest.substr(0, end)));
    return advance(at_ + end);
  }
  if (c == '\'' || c == '"') return read_string();
  read_operator();
}

void Lexer::read_number() {
  const std::string_view rest = std::string_view(source_).substr(at_);
  const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
  const NumberLiteral number = read_number_literal(rest, !after_dot);
  if (number.too_large)
    not_supported(name_, line_,
                  "the integer " + std::string(rest.substr(0, number.size)) + " has more than 64 bits");
  Token token{number.real ? TokenKind::kFloat : TokenKind::kInteger, line_, {}, number.integer, number.value};
  tokens_.push_back(std::move(token));
  advance(at_ + number.size);
}

void Lexer::read_string() {
  const char quote = source_[at_];
  size_t end = at_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size())
    syntax_error(name_, line_, std::string("unexpected char ") + quote + ": the string does not end");
  std::string text;
  const std::string problem = unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1), &text);
  if (problem.rfind("not supported", 0) == 0) not_supported(name_, line_, problem.substr(15));
  if (!problem.empty()) syntax_error(name_, line_, problem);
  push(TokenKind::kString, std::move(text));
  advance(end + 1);
}

void Lexer::read_operator() {
  constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                             "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                             ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
  const auto* op = std::find_if(std::begin(kOperators), std::end(kOperators),
                                [&](std::string_view o) { return looking_at(o, at_); });
  if (op == std::end(kOperators)) {
    const std::string_view rest = std::string_view(source_).substr(at_);
    syntax_error(name_, line_, "unexpected char '" + std::string(rest.substr(0, point_size(rest[0]))) + "'");
  }
  const char c = (*op)[0];
  if (c == '{' || c == '(' || c == '[') {
    open_.push_back(c == '{' ? '}' : c == '(' ? ')' : ']');
  } else if (c == '}' || c == ')' || c == ']') {
    if (open_.empty()) syntax_error(name_, line_, std::string("unexpected '") + c + "'");
    if (open_.back() != c)
      syntax_error(name_, line_, std::string("unexpected '") + c + "', expected '" + open_.back() + "'");
    open_.pop_back();
  }
  push(TokenKind::kOperator, std::string(*op));
  advance(at_ + op->size());
}

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  return Lexer(source, name).run();
}

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "template data / text";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kVariableBegin:
      return "begin of print statement";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kString:
      return "string";
    case TokenKind::kInteger:
      return "integer";
    case TokenKind::kFloat:
      return "float";
    case TokenKind::kEnd:
      return "end of template";
    case TokenKind::kName:
    case TokenKind::kOperator:
      break;
  }
  return token.text;
}

void syntax_error(const std::string& name, int line, const std::string& message) {
  throw Error(ErrorKind::kFile, name + ":" + std::to_string(line) + ": " + message);
}

void not_supported(const std::string& name, int line, const std::string& message) {
  throw Error(ErrorKind::kUnsupported,
              name + ":" + std::to_string(line) + ": " + message + ", which is not supported");
}

}  // namespace seer::jinja
