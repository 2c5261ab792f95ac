#include "tokenizer/jinja/parser.h"

#include <algorithm>

namespace seer::jinja {

// The limit of nested parentheses, blocks and operands. Real templates stay below 20.
constexpr int kMaxNesting = 150;

Parser::Deeper::Deeper(Parser* parser) : parser_(*parser) {
  if (++parser_.nesting_ <= kMaxNesting) return;
  --parser_.nesting_;
  not_supported(parser_.program_.name, parser_.current().line,
                "nesting deeper than " + std::to_string(kMaxNesting) + " levels");
}

void Parser::fail(const std::string& message) const { fail(message, current().line); }
void Parser::fail(const std::string& message, int line) const { syntax_error(program_.name, line, message); }
void Parser::refuse(const std::string& construct, int line) const {
  not_supported(program_.name, line, construct);
}

bool Parser::at_name(std::string_view name) const {
  return current().kind == TokenKind::kName && current().text == name;
}

bool Parser::at_operator(std::string_view op) const {
  return current().kind == TokenKind::kOperator && current().text == op;
}

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  next();
  return true;
}

bool Parser::skip_operator(std::string_view op) {
  if (!at_operator(op)) return false;
  next();
  return true;
}

const Token& Parser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) {
    if (current().kind == TokenKind::kEnd) fail("unexpected end of template, expected " + std::string(what));
    fail("expected " + std::string(what) + ", found '" + describe(current()) + "'");
  }
  return next();
}

void Parser::expect_operator(std::string_view op) {
  if (!at_operator(op)) fail("expected '" + std::string(op) + "', found '" + describe(current()) + "'");
  next();
}

void Parser::expect_name(std::string_view name) {
  if (!at_name(name)) fail("expected '" + std::string(name) + "', found '" + describe(current()) + "'");
  next();
}

void Parser::parse() { parse_block(&program_.body, {}, nullptr); }

// Parses statements up to a block that begins with one of `ends`, which becomes the current token.
Block Parser::parse_until(Ends ends, const char* tag) {
  Block block;
  parse_block(&block, ends, tag);
  return block;
}

// Reads the end of the statement's own tag, and then does the same.
Block Parser::parse_body(Ends ends, const char* tag) {
  skip_operator(":");
  expect(TokenKind::kBlockEnd, "end of statement block");
  return parse_until(ends, tag);
}

void Parser::parse_block(Block* block, Ends ends, const char* tag) {
  const Deeper deeper(this);
  const int line = current().line;
  std::unique_ptr<Stmt> output;
  const auto add_part = [&](ExprPtr part) {
    if (!output) output = statement(StmtKind::kOutput);
    output->exprs.push_back(std::move(part));
  };
  const auto flush = [&] {
    if (output) block->push_back(std::move(output));
  };
  while (current().kind != TokenKind::kEnd) {
    if (current().kind == TokenKind::kData) {
      const int data_line = current().line;
      add_part(string_constant(next().text, data_line));
    } else if (current().kind == TokenKind::kVariableBegin) {
      next();
      add_part(parse_tuple({}));
      expect(TokenKind::kVariableEnd, "end of print statement");
    } else {
      flush();
      expect(TokenKind::kBlockBegin, "begin of statement block");
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return at_name(end); })) return;
      block->push_back(parse_statement());
      expect(TokenKind::kBlockEnd, "end of statement block");
    }
  }
  flush();
  if (tag != nullptr)
    fail("unexpected end of template: '" + std::string(tag) + "' of line " + std::to_string(line) +
         " is not closed by '" + std::string(*(ends.end() - 1)) + "'");
}

std::unique_ptr<Stmt> Parser::statement(StmtKind kind) {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = current().line;
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_statement() {
  if (current().kind != TokenKind::kName) fail("tag name expected");
  const std::string tag = current().text;
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "generation") return parse_generation();
  if (tag == "print") return parse_print();
  if (tag == "break") return parse_loop_control(StmtKind::kBreak);
  if (tag == "continue") return parse_loop_control(StmtKind::kContinue);
  for (const char* known : {"block", "extends", "include", "import", "from", "autoescape"})
    if (tag == known) refuse("the statement '" + tag + "'", current().line);
  fail("unknown tag '" + tag + "'");
}

std::unique_ptr<Stmt> Parser::parse_if() {
  auto stmt = statement(StmtKind::kIf);
  next();
  while (true) {
    TupleOptions options;
    options.conditional = false;
    stmt->exprs.push_back(parse_tuple(options));
    stmt->bodies.push_back(parse_body({"elif", "else", "endif"}, "if"));
    if (skip_name("elif")) continue;
    if (skip_name("else")) {
      stmt->has_else = true;
      stmt->bodies.push_back(parse_body({"endif"}, "if"));
    }
    next();  // endif
    return stmt;
  }
}

std::unique_ptr<Stmt> Parser::parse_for() {
  auto stmt = statement(StmtKind::kFor);
  next();
  stmt->targets.push_back(parse_target());
  expect_name("in");
  TupleOptions options;
  options.conditional = false;
  stmt->exprs.push_back(parse_tuple(options));
  stmt->exprs.push_back(skip_name("if") ? parse_expression() : nullptr);
  if (at_name("recursive")) refuse("'for' with 'recursive'", current().line);
  ++loops_;
  stmt->bodies.push_back(parse_body({"endfor", "else"}, "for"));
  --loops_;
  if (skip_name("else")) {
    stmt->has_else = true;
    stmt->bodies.push_back(parse_body({"endfor"}, "for"));
  }
  next();  // endfor
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_set() {
  auto stmt = statement(StmtKind::kSet);
  next();
  stmt->targets.push_back(parse_target(true));
  if (skip_operator("=")) {
    stmt->exprs.push_back(parse_tuple({}));
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  stmt->exprs.push_back(parse_filter(nullptr));
  stmt->bodies.push_back(parse_body({"endset"}, "set"));
  next();
  return stmt;
}

std::unique_ptr<MacroDef> Parser::parse_signature(bool with_parameters) {
  auto macro = std::make_unique<MacroDef>();
  if (!with_parameters) return macro;
  expect_operator("(");
  while (!at_operator(")")) {
    if (!macro->parameters.empty()) expect_operator(",");
    const int line = current().line;
    std::string name = parse_target_name();
    if (std::find(macro->parameters.begin(), macro->parameters.end(), name) != macro->parameters.end())
      fail("duplicate argument '" + name + "'", line);
    auto argument = make(ExprKind::kName, line);
    argument->name = name;
    argument->store = true;
    argument->parameter = true;
    macro->parameters.push_back(std::move(name));
    macro->arguments.push_back(std::move(argument));
    if (skip_operator("=")) {
      macro->defaults.push_back(parse_expression());
    } else if (!macro->defaults.empty()) {
      fail("non-default argument follows default argument");
    }
  }
  next();
  return macro;
}

void Parser::parse_function_body(MacroDef* macro, std::string_view end, const char* tag) {
  const int loops = loops_;
  loops_ = 0;
  macro->body = parse_body({end}, tag);
  loops_ = loops;
  next();
}

std::unique_ptr<Stmt> Parser::parse_macro() {
  auto stmt = statement(StmtKind::kMacro);
  next();
  std::string name = parse_target_name();
  stmt->macro = parse_signature(true);
  stmt->macro->name = std::move(name);
  parse_function_body(stmt->macro.get(), "endmacro", "macro");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_call_block() {
  auto stmt = statement(StmtKind::kCallBlock);
  next();
  stmt->macro = parse_signature(at_operator("("));
  stmt->exprs.push_back(parse_expression());
  if (stmt->exprs[0]->kind != ExprKind::kCall) fail("expected call", stmt->line);
  parse_function_body(stmt->macro.get(), "endcall", "call");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_generation() {
  auto stmt = statement(StmtKind::kGeneration);
  next();
  stmt->macro = parse_signature(false);
  parse_function_body(stmt->macro.get(), "endgeneration", "generation");
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_filter_block() {
  auto stmt = statement(StmtKind::kFilterBlock);
  next();
  stmt->exprs.push_back(parse_filter(nullptr, true));
  stmt->bodies.push_back(parse_body({"endfilter"}, "filter"));
  next();
  return stmt;
}

void Parser::make_parameter(Expr* target) {
  target->parameter = true;
  for (const ExprPtr& item : target->items) make_parameter(item.get());
}

std::unique_ptr<Stmt> Parser::parse_with() {
  auto stmt = statement(StmtKind::kWith);
  next();
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt->targets.empty()) expect_operator(",");
    stmt->targets.push_back(parse_target());
    make_parameter(stmt->targets.back().get());
    expect_operator("=");
    stmt->exprs.push_back(parse_expression());
  }
  stmt->bodies.push_back(parse_body({"endwith"}, "with"));
  next();
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_print() {
  auto stmt = statement(StmtKind::kOutput);
  next();
  while (current().kind != TokenKind::kBlockEnd) {
    if (!stmt->exprs.empty()) expect_operator(",");
    stmt->exprs.push_back(parse_expression());
  }
  return stmt;
}

std::unique_ptr<Stmt> Parser::parse_loop_control(StmtKind kind) {
  auto stmt = statement(kind);
  if (loops_ == 0) fail("'" + current().text + "' outside of a loop");
  next();
  return stmt;
}

}  // namespace seer::jinja
