// Parses what may follow an operand: attributes, items, calls, filters and tests.
#include <algorithm>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/parser.h"

namespace seer::jinja {

ExprPtr Parser::parse_postfix(ExprPtr node) {
  while (true) {
    if (at_operator(".") || at_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (at_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_filter_expr(ExprPtr node) {
  while (true) {
    if (at_operator("|")) {
      node = parse_filter(std::move(node));
    } else if (at_name("is")) {
      node = parse_test(std::move(node));
    } else if (at_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::parse_subscript(ExprPtr node) {
  const Token& token = next();
  if (token.text == ".") {
    const Token& attribute = next();
    if (attribute.kind == TokenKind::kName) {
      auto expr = make(ExprKind::kAttribute, token.line, std::move(node));
      auto name = string_constant(attribute.text, token.line);
      expr->name = attribute.text;
      expr->constant = name->constant;
      return expr;
    }
    if (attribute.kind != TokenKind::kInteger) fail("expected name or number", attribute.line);
    auto number = make(ExprKind::kConst, attribute.line);
    number->constant = Value::integer(attribute.integer);
    return make(ExprKind::kItem, token.line, std::move(node), std::move(number));
  }
  return parse_slice(std::move(node));
}

// Parses the text after "[": an index, a slice, or several of them separated by commas, which make a tuple.
ExprPtr Parser::parse_slice(ExprPtr node) {
  const int line = current().line;
  std::vector<ExprPtr> arguments;
  ExprPtr slice;
  while (!at_operator("]")) {
    if (!arguments.empty() || slice) expect_operator(",");
    ExprPtr first = at_operator(":") ? nullptr : parse_expression();
    if (!at_operator(":")) {
      arguments.push_back(std::move(first));
      continue;
    }
    if (slice || !arguments.empty()) refuse("a slice among several indices", line);
    slice = make(ExprKind::kSlice, line, std::move(node));
    add(slice.get(), std::move(first));
    next();
    const auto bound = [&] {
      return at_operator(":") || at_operator("]") || at_operator(",") ? nullptr : parse_expression();
    };
    add(slice.get(), bound());
    add(slice.get(), skip_operator(":") && !at_operator(":") ? bound() : nullptr);
  }
  next();
  if (slice) {
    if (!arguments.empty()) refuse("a slice among several indices", line);
    return slice;
  }
  if (arguments.size() == 1) return make(ExprKind::kItem, line, std::move(node), std::move(arguments[0]));
  auto tuple = make(ExprKind::kTuple, line);
  for (ExprPtr& argument : arguments) add(tuple.get(), std::move(argument));
  return make(ExprKind::kItem, line, std::move(node), std::move(tuple));
}

ExprPtr Parser::parse_call(ExprPtr node) {
  const int line = current().line;
  auto call = make(ExprKind::kCall, line, std::move(node));
  set_arguments(call.get());
  check_method(*call->items[0], program_.name);
  return call;
}

CallArguments Parser::parse_arguments() {
  const int line = current().line;
  expect_operator("(");
  CallArguments arguments;
  bool first = true;
  while (!at_operator(")")) {
    if (!first) {
      expect_operator(",");
      if (at_operator(")")) break;
    }
    first = false;
    parse_argument(&arguments, line);
  }
  next();
  return arguments;
}

void Parser::set_arguments(Expr* expr) {
  expr->call = parse_arguments();
  const auto deepen = [&](const ExprPtr& argument) {
    if (argument) expr->depth = std::max(expr->depth, argument->depth + 1);
  };
  for (const ExprPtr& argument : expr->call.positional) deepen(argument);
  for (const auto& [name, argument] : expr->call.named) deepen(argument);
  deepen(expr->call.more_positional);
  deepen(expr->call.more_named);
  check_depth(*expr);
}

void Parser::parse_argument(CallArguments* arguments, int line) {
  const auto ensure = [&](bool good) {
    if (!good) fail("invalid syntax for function call expression", line);
  };
  if (skip_operator("*")) {
    ensure(!arguments->more_positional && !arguments->more_named);
    arguments->more_positional = parse_expression();
  } else if (skip_operator("**")) {
    ensure(!arguments->more_named);
    arguments->more_named = parse_expression();
  } else if (current().kind == TokenKind::kName && look().kind == TokenKind::kOperator &&
             look().text == "=") {
    ensure(!arguments->more_named);
    std::string name = next().text;
    next();
    for (const auto& [other, value] : arguments->named)
      if (other == name) fail("keyword argument repeated: " + name, line);
    arguments->named.emplace_back(std::move(name), parse_expression());
  } else {
    ensure(!arguments->more_positional && !arguments->more_named && arguments->named.empty());
    arguments->positional.push_back(parse_expression());
  }
}

// Parses the name of a filter or test, which may have dots.
std::string Parser::dotted_name() {
  std::string name = expect(TokenKind::kName, "a name").text;
  while (skip_operator(".")) name += "." + expect(TokenKind::kName, "a name").text;
  return name;
}

// Parses the filters that follow. Returns null if there are none and there is no operand.
ExprPtr Parser::parse_filter(ExprPtr node, bool start_inline) {
  while (at_operator("|") || start_inline) {
    if (!start_inline) next();
    start_inline = false;
    const int line = current().line;
    auto filter = make(ExprKind::kFilter, line);
    filter->name = dotted_name();
    add(filter.get(), std::move(node));
    if (at_operator("(")) set_arguments(filter.get());
    filter->filter = find_filter(filter->name);
    if (filter->filter == nullptr && known_filter(filter->name))
      refuse("the filter '" + filter->name + "'", line);
    node = std::move(filter);
  }
  return node;
}

bool Parser::argument_of_test_follows() const {
  switch (current().kind) {
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    case TokenKind::kName:
      return !at_name("else") && !at_name("or") && !at_name("and");
    default:
      return at_operator("[") || at_operator("{");
  }
}

ExprPtr Parser::parse_test(ExprPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  auto test = make(ExprKind::kTest, line, std::move(node));
  test->name = dotted_name();
  if (at_operator("(")) {
    set_arguments(test.get());
  } else if (argument_of_test_follows()) {
    if (at_name("is")) fail("You cannot chain multiple tests with is");
    test->call.positional.push_back(parse_postfix(parse_primary()));
  }
  test->test = find_test(test->name);
  if (negated) return make(ExprKind::kNot, line, std::move(test));
  return test;
}

}  // namespace seer::jinja
