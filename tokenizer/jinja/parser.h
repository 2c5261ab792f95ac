// Turns the tokens of a template into statements and expressions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/lexer.h"

namespace seer::jinja {

class Parser {
 public:
  // Literals are stored in `program`, which must outlive the statements.
  Parser(std::vector<Token> tokens, Program* program) : tokens_(std::move(tokens)), program_(*program) {}
  // Fills the program's body. Names get no places yet. Throws as tokenize does.
  void parse();

 private:
  // Counts how deeply parentheses, blocks and operands are nested.
  class Deeper {
   public:
    explicit Deeper(Parser* parser);
    ~Deeper() { --parser_.nesting_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Parser& parser_;
  };
  using Ends = std::initializer_list<std::string_view>;

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_name(std::string_view name) const;
  bool at_operator(std::string_view op) const;
  bool skip_name(std::string_view name);
  bool skip_operator(std::string_view op);
  const Token& expect(TokenKind kind, std::string_view what);
  void expect_operator(std::string_view op);
  void expect_name(std::string_view name);
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail(const std::string& message, int line) const;
  [[noreturn]] void refuse(const std::string& construct, int line) const;

  // Statements (parser.cc).
  Block parse_until(Ends ends, const char* tag);
  Block parse_body(Ends ends, const char* tag);
  void parse_block(Block* block, Ends ends, const char* tag);
  std::unique_ptr<Stmt> statement(StmtKind kind);
  std::unique_ptr<Stmt> parse_statement();
  std::unique_ptr<Stmt> parse_if();
  std::unique_ptr<Stmt> parse_for();
  std::unique_ptr<Stmt> parse_set();
  std::unique_ptr<Stmt> parse_macro();
  std::unique_ptr<Stmt> parse_call_block();
  std::unique_ptr<Stmt> parse_filter_block();
  std::unique_ptr<Stmt> parse_with();
  std::unique_ptr<Stmt> parse_generation();
  std::unique_ptr<Stmt> parse_print();
  std::unique_ptr<Stmt> parse_loop_control(StmtKind kind);
  std::unique_ptr<MacroDef> parse_signature(bool with_parameters);
  void parse_function_body(MacroDef* macro, std::string_view end, const char* tag);

  // Expressions (parse_expr.cc; the functions from parse_postfix to parse_test are in parse_postfix.cc).
  ExprPtr make(ExprKind kind, int line);
  ExprPtr make(ExprKind kind, int line, ExprPtr left, ExprPtr right = nullptr);
  void add(Expr* parent, ExprPtr child);
  void check_depth(const Expr& expr) const;
  ExprPtr string_constant(std::string text, int line);
  ExprPtr parse_expression(bool with_conditional = true);
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  bool parse_compare_operator(CompareOp* op);
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter = true);
  ExprPtr parse_primary(bool with_namespace = false);
  ExprPtr parse_name(bool with_namespace);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_postfix(ExprPtr node);
  ExprPtr parse_filter_expr(ExprPtr node);
  ExprPtr parse_subscript(ExprPtr node);
  ExprPtr parse_slice(ExprPtr node);
  ExprPtr parse_call(ExprPtr node);
  CallArguments parse_arguments();
  void set_arguments(Expr* expr);
  void parse_argument(CallArguments* arguments, int line);
  std::string dotted_name();
  ExprPtr parse_filter(ExprPtr node, bool start_inline = false);
  ExprPtr parse_test(ExprPtr node);
  bool argument_of_test_follows() const;
  struct TupleOptions {
    bool simplified = false, conditional = true, parentheses = false, with_namespace = false;
  };
  ExprPtr parse_tuple(const TupleOptions& options);
  bool at_tuple_end() const;
  ExprPtr parse_target(bool with_namespace = false);
  std::string parse_target_name();
  void make_target(Expr* expr) const;
  void make_parameter(Expr* target);

  std::vector<Token> tokens_;
  Program& program_;
  size_t at_ = 0;
  int nesting_ = 0;
  // The number of loops around the current statement within the same function. Without one, break is an
  // error.
  int loops_ = 0;
};

}  // namespace seer::jinja
