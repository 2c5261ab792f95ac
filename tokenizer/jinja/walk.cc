#include "tokenizer/jinja/walk.h"

namespace seer::jinja {
namespace {

void visit_list(const std::vector<ExprPtr>& exprs, const NameVisitor& visit) {
  for (const ExprPtr& expr : exprs)
    if (expr) visit_names(*expr, visit);
}

void visit_macro(const MacroDef& macro, const NameVisitor& visit) {
  visit_list(macro.arguments, visit);
  visit_list(macro.defaults, visit);
  visit_names(macro.body, visit);
}

void visit_stmt(const Stmt& stmt, const NameVisitor& visit) {
  switch (stmt.kind) {
    case StmtKind::kIf:
      for (size_t i = 0; i < stmt.bodies.size(); ++i) {
        if (i < stmt.exprs.size()) visit_names(*stmt.exprs[i], visit);
        visit_names(stmt.bodies[i], visit);
      }
      return;
    case StmtKind::kFor:
      visit_list(stmt.targets, visit);
      visit_names(*stmt.exprs[0], visit);
      for (const Block& body : stmt.bodies) visit_names(body, visit);
      if (stmt.exprs[1]) visit_names(*stmt.exprs[1], visit);
      return;
    case StmtKind::kFilterBlock:
      visit_names(stmt.bodies[0], visit);
      visit_list(stmt.exprs, visit);
      return;
    case StmtKind::kMacro:
    case StmtKind::kCallBlock:
    case StmtKind::kGeneration:
      visit_list(stmt.exprs, visit);
      visit_macro(*stmt.macro, visit);
      return;
    default:
      visit_list(stmt.targets, visit);
      visit_list(stmt.exprs, visit);
      for (const Block& body : stmt.bodies) visit_names(body, visit);
  }
}

}  // namespace

void visit_children(const Expr& expr, const std::function<void(Expr&)>& visit) {
  for (const ExprPtr& item : expr.items)
    if (item) visit(*item);
  for (const ExprPtr& argument : expr.call.positional) visit(*argument);
  for (const auto& [name, argument] : expr.call.named) visit(*argument);
  if (expr.call.more_positional) visit(*expr.call.more_positional);
  if (expr.call.more_named) visit(*expr.call.more_named);
}

void visit_names(const Expr& expr, const NameVisitor& visit) {
  if (expr.kind == ExprKind::kName) return visit(expr);
  visit_children(expr, [&](Expr& child) { visit_names(child, visit); });
}

void visit_names(const Block& block, const NameVisitor& visit) {
  for (const auto& stmt : block) visit_stmt(*stmt, visit);
}

}  // namespace seer::jinja
