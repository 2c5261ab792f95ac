#include <algorithm>

#include "tokenizer/jinja/parser.h"

namespace seer::jinja {
namespace {

constexpr int kMaxExpressionDepth = 200;  // of an expression's tree; chains such as a + b + c count too

ExprKind sum_kind(const std::string& op) { return op == "+" ? ExprKind::kAdd : ExprKind::kSubtract; }

ExprKind product_kind(const std::string& op) {
  return op == "*"    ? ExprKind::kMultiply
         : op == "/"  ? ExprKind::kDivide
         : op == "//" ? ExprKind::kFloorDivide
                      : ExprKind::kModulo;
}

}  // namespace

ExprPtr Parser::make(ExprKind kind, int line) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  return expr;
}

ExprPtr Parser::make(ExprKind kind, int line, ExprPtr left, ExprPtr right) {
  auto expr = make(kind, line);
  add(expr.get(), std::move(left));
  if (right) add(expr.get(), std::move(right));
  return expr;
}

void Parser::add(Expr* parent, ExprPtr child) {
  if (child) parent->depth = std::max(parent->depth, child->depth + 1);
  parent->items.push_back(std::move(child));
  check_depth(*parent);
}

void Parser::check_depth(const Expr& expr) const {
  if (expr.depth > kMaxExpressionDepth)
    refuse("an expression of more than " + std::to_string(kMaxExpressionDepth) +
               " operations within one another",
           expr.line);
}

ExprPtr Parser::string_constant(std::string text, int line) {
  auto expr = make(ExprKind::kConst, line);
  auto str = std::make_unique<Str>(Text{std::move(text), {}});
  str->immortal = true;
  static_cast<void>(str->points());
  expr->constant = Value(Type::kStr, str.get());
  program_.literals.push_back(std::move(str));
  return expr;
}

ExprPtr Parser::parse_expression(bool with_conditional) {
  const Deeper deeper(this);
  if (!with_conditional) return parse_or();
  int line = current().line;
  ExprPtr result = parse_or();
  while (skip_name("if")) {
    ExprPtr test = parse_or();
    ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
    auto conditional = make(ExprKind::kConditional, line, std::move(test), std::move(result));
    add(conditional.get(), std::move(otherwise));
    result = std::move(conditional);
    line = current().line;
  }
  return result;
}

ExprPtr Parser::parse_or() {
  const int line = current().line;
  ExprPtr left = parse_and();
  while (skip_name("or")) {
    ExprPtr right = parse_and();
    left = make(ExprKind::kOr, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::parse_and() {
  const int line = current().line;
  ExprPtr left = parse_not();
  while (skip_name("and")) {
    ExprPtr right = parse_not();
    left = make(ExprKind::kAnd, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::parse_not() {
  std::vector<int> lines;
  while (at_name("not")) lines.push_back(next().line);
  ExprPtr result = parse_compare();
  for (; !lines.empty(); lines.pop_back()) result = make(ExprKind::kNot, lines.back(), std::move(result));
  return result;
}

bool Parser::parse_compare_operator(CompareOp* op) {
  struct Named {
    std::string_view text;
    CompareOp op;
  };
  constexpr Named kOperators[] = {{"==", CompareOp::kEqual},  {"!=", CompareOp::kNotEqual},
                                  {"<", CompareOp::kLess},    {"<=", CompareOp::kLessEqual},
                                  {">", CompareOp::kGreater}, {">=", CompareOp::kGreaterEqual}};
  for (const Named& named : kOperators) {
    if (!skip_operator(named.text)) continue;
    *op = named.op;
    return true;
  }
  if (skip_name("in")) {
    *op = CompareOp::kIn;
    return true;
  }
  if (!at_name("not") || look().kind != TokenKind::kName || look().text != "in") return false;
  next();
  next();
  *op = CompareOp::kNotIn;
  return true;
}

ExprPtr Parser::parse_compare() {
  const int line = current().line;
  ExprPtr first = parse_sum();
  CompareOp op;
  if (!parse_compare_operator(&op)) return first;
  auto compare = make(ExprKind::kCompare, line, std::move(first));
  do {
    compare->compare.push_back(op);
    add(compare.get(), parse_sum());
  } while (parse_compare_operator(&op));
  return compare;
}

ExprPtr Parser::parse_sum() {
  const int line = current().line;
  ExprPtr left = parse_concat();
  while (at_operator("+") || at_operator("-")) {
    const ExprKind kind = sum_kind(next().text);
    ExprPtr right = parse_concat();
    left = make(kind, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::parse_concat() {
  const int line = current().line;
  ExprPtr first = parse_product();
  if (!at_operator("~")) return first;
  auto concat = make(ExprKind::kConcat, line, std::move(first));
  while (skip_operator("~")) add(concat.get(), parse_product());
  return concat;
}

ExprPtr Parser::parse_product() {
  const int line = current().line;
  ExprPtr left = parse_power();
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    const ExprKind kind = product_kind(next().text);
    ExprPtr right = parse_power();
    left = make(kind, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::parse_power() {
  const int line = current().line;
  ExprPtr left = parse_unary();
  while (skip_operator("**")) {
    ExprPtr right = parse_unary();
    left = make(ExprKind::kPower, line, std::move(left), std::move(right));
  }
  return left;
}

ExprPtr Parser::parse_unary(bool with_filter) {
  const Deeper deeper(this);
  const int line = current().line;
  ExprPtr node;
  if (skip_operator("-")) {
    node = make(ExprKind::kNegative, line, parse_unary(false));
  } else if (skip_operator("+")) {
    node = make(ExprKind::kPositive, line, parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filter ? parse_filter_expr(std::move(node)) : std::move(node);
}

ExprPtr Parser::parse_name(bool with_namespace) {
  const Token& token = next();
  const std::string& name = token.text;
  const bool yes = name == "true" || name == "True", no = name == "false" || name == "False";
  auto expr =
      make(yes || no || name == "none" || name == "None" ? ExprKind::kConst : ExprKind::kName, token.line);
  if (expr->kind == ExprKind::kConst) {
    expr->constant = yes || no ? Value::boolean(yes) : Value::none();
    return expr;
  }
  expr->name = name;
  if (with_namespace && skip_operator(".")) {
    expr->kind = ExprKind::kNamespaceRef;
    expr->attribute = expect(TokenKind::kName, "a name").text;
  }
  return expr;
}

ExprPtr Parser::parse_primary(bool with_namespace) {
  const Token& token = current();
  if (token.kind == TokenKind::kName) return parse_name(with_namespace);
  if (token.kind == TokenKind::kString) {
    std::string text;
    while (current().kind == TokenKind::kString) text += next().text;
    return string_constant(std::move(text), token.line);
  }
  if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat) {
    auto expr = make(ExprKind::kConst, token.line);
    expr->constant =
        token.kind == TokenKind::kFloat ? Value::real(token.real) : Value::integer(token.integer);
    next();
    return expr;
  }
  if (skip_operator("(")) {
    TupleOptions options;
    options.parentheses = true;
    ExprPtr expr = parse_tuple(options);
    expect_operator(")");
    return expr;
  }
  if (at_operator("[")) return parse_list();
  if (at_operator("{")) return parse_dict();
  fail("unexpected '" + describe(token) + "'");
}

ExprPtr Parser::parse_list() {
  auto list = make(ExprKind::kList, next().line);
  while (!at_operator("]")) {
    if (!list->items.empty()) expect_operator(",");
    if (at_operator("]")) break;
    add(list.get(), parse_expression());
  }
  next();
  return list;
}

ExprPtr Parser::parse_dict() {
  auto dict = make(ExprKind::kDict, next().line);
  while (!at_operator("}")) {
    if (!dict->items.empty()) expect_operator(",");
    if (at_operator("}")) break;
    add(dict.get(), parse_expression());
    expect_operator(":");
    add(dict.get(), parse_expression());
  }
  next();
  return dict;
}

// A name such as "in" does not end a tuple. After "for a," jinja2 takes it for another target.
bool Parser::at_tuple_end() const {
  return current().kind == TokenKind::kVariableEnd || current().kind == TokenKind::kBlockEnd ||
         at_operator(")");
}

ExprPtr Parser::parse_tuple(const TupleOptions& options) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    if (at_tuple_end()) break;
    items.push_back(options.simplified ? parse_primary(options.with_namespace)
                                       : parse_expression(options.conditional));
    if (!at_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return std::move(items[0]);
    if (!options.parentheses) fail("Expected an expression, got '" + describe(current()) + "'");
  }
  auto tuple = make(ExprKind::kTuple, line);
  for (ExprPtr& item : items) add(tuple.get(), std::move(item));
  return tuple;
}

void Parser::make_target(Expr* expr) const {
  if (expr->kind == ExprKind::kTuple) {
    for (const ExprPtr& item : expr->items) make_target(item.get());
  } else if (expr->kind != ExprKind::kName && expr->kind != ExprKind::kNamespaceRef) {
    fail("can't assign to this expression", expr->line);
  }
  expr->store = true;
}

ExprPtr Parser::parse_target(bool with_namespace) {
  TupleOptions options;
  options.simplified = true;
  options.with_namespace = with_namespace;
  ExprPtr target = parse_tuple(options);
  make_target(target.get());
  return target;
}

std::string Parser::parse_target_name() {
  const int line = current().line;
  std::string name = expect(TokenKind::kName, "a name").text;
  for (const char* constant : {"true", "false", "none", "True", "False", "None"})
    if (name == constant) fail("can't assign to '" + name + "'", line);
  return name;
}

}  // namespace seer::jinja
