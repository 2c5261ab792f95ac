#include "tokenizer/jinja/resolve.h"

#include <set>

#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/lexer.h"
#include "tokenizer/jinja/symbols.h"
#include "tokenizer/jinja/walk.h"

namespace seer::jinja {
namespace {

// Returns the names that are loaded before anything of that name is assigned.
std::set<std::string> undeclared(const Block& block, std::set<std::string> names) {
  std::set<std::string> found;
  visit_names(block, [&](const Expr& name) {
    if (names.count(name.name) == 0) return;
    if (name.store) {
      names.erase(name.name);
    } else {
      found.insert(name.name);
    }
  });
  return found;
}

ExprPtr copy_target(const Expr& target) {
  auto copy = std::make_unique<Expr>();
  copy->kind = target.kind;
  copy->line = target.line;
  copy->name = target.name;
  copy->store = true;
  for (const ExprPtr& item : target.items) copy->items.push_back(copy_target(*item));
  return copy;
}

struct Frame {
  Symbols* symbols;
  FunctionSlots* function;
  bool top_level;  // the context sees assignments
  bool soft;  // the block is in a branch that may never run, so unknown filters and tests are errors only
              // when they are used
};

class Resolver {
 public:
  explicit Resolver(Program* program) : program_(*program) {}

  void run() {
    FunctionSlots function(nullptr);
    Symbols symbols(nullptr, &function);
    if (!undeclared(program_.body, {"self"}).empty()) refuse_name("self", program_.body);
    symbols.analyze(program_.body);
    program_.scope = symbols.scope(&program_);
    walk(program_.body, {&symbols, &function, true, false});
    program_.n_slots = function.size();
  }

 private:
  void walk(const Block& block, const Frame& frame) {
    for (const auto& stmt : block) walk(*stmt, frame);
  }
  void walk(Stmt& stmt, const Frame& frame);
  void walk_for(Stmt& stmt, const Frame& frame);
  void walk_inner(Stmt& stmt, const Frame& frame);
  void walk_with(Stmt& stmt, const Frame& frame);
  void walk_macro(MacroDef* macro, int line, const Frame& frame);
  void walk(Expr& expr, const Frame& frame);
  void walk_target(Expr& target, const Frame& frame);
  void add_exports(Stmt& stmt, const Expr& target, const Frame& frame);
  void check_known(const Expr& expr, bool soft) const;
  int variable(const std::string& name);
  void refuse_name(const std::string& name, const Block& block) const;

  Program& program_;
};

void Resolver::refuse_name(const std::string& name, const Block& block) const {
  int line = 1;
  visit_names(block, [&](const Expr& found) {
    if (found.name == name) line = found.line;
  });
  not_supported(program_.name, line, "the variable '" + name + "'");
}

int Resolver::variable(const std::string& name) {
  const int n = static_cast<int>(program_.variables.size());
  const auto [it, added] = program_.variable_numbers.emplace(name, n);
  if (added) program_.variables.push_back(name);
  return it->second;
}

void Resolver::add_exports(Stmt& stmt, const Expr& target, const Frame& frame) {
  if (!frame.top_level) return;
  visit_names(target, [&](const Expr& name) { stmt.exports.emplace_back(variable(name.name), name.slot); });
}

void Resolver::check_known(const Expr& expr, bool soft) const {
  if (soft) return;
  if (expr.kind == ExprKind::kFilter && expr.filter == nullptr)
    syntax_error(program_.name, expr.line, "No filter named '" + expr.name + "'.");
  if (expr.kind == ExprKind::kTest && expr.test == nullptr)
    syntax_error(program_.name, expr.line, "No test named '" + expr.name + "'.");
}

void Resolver::walk(Expr& expr, const Frame& frame) {
  check_known(expr, frame.soft);
  if (expr.kind == ExprKind::kName || expr.kind == ExprKind::kNamespaceRef) {
    if (!frame.symbols->find(expr.name, &expr.slot))
      not_supported(program_.name, expr.line, "the variable '" + expr.name + "' in a filter of a set block");
    if (expr.store || !frame.symbols->from_context(expr.name)) return;
    if (expr.name == "lipsum") not_supported(program_.name, expr.line, "the function 'lipsum'");
    program_.reads.insert(expr.name);
    return;
  }
  Frame inner = frame;
  if (expr.kind == ExprKind::kConditional) inner.soft = true;
  visit_children(expr, [&](Expr& child) { walk(child, inner); });
}

void Resolver::walk_target(Expr& target, const Frame& frame) { walk(target, frame); }

void Resolver::walk(Stmt& stmt, const Frame& frame) {
  switch (stmt.kind) {
    case StmtKind::kIf: {
      Frame soft = frame;
      soft.soft = true;
      for (ExprPtr& test : stmt.exprs) walk(*test, soft);
      for (const Block& body : stmt.bodies) walk(body, soft);
      return;
    }
    case StmtKind::kFor:
      return walk_for(stmt, frame);
    case StmtKind::kSet:
      walk_target(*stmt.targets[0], frame);
      walk(*stmt.exprs[0], frame);
      return add_exports(stmt, *stmt.targets[0], frame);
    case StmtKind::kSetBlock:
      walk_target(*stmt.targets[0], frame);
      walk_inner(stmt, frame);
      return add_exports(stmt, *stmt.targets[0], frame);
    case StmtKind::kFilterBlock:
      return walk_inner(stmt, frame);
    case StmtKind::kWith:
      return walk_with(stmt, frame);
    case StmtKind::kMacro:
      walk_macro(stmt.macro.get(), stmt.line, frame);
      frame.symbols->find(stmt.macro->name, &stmt.macro_slot);
      if (frame.top_level) stmt.exports.emplace_back(variable(stmt.macro->name), stmt.macro_slot);
      return;
    case StmtKind::kCallBlock:
    case StmtKind::kGeneration:
      walk_macro(stmt.macro.get(), stmt.line, frame);
      break;
    default:
      break;
  }
  for (ExprPtr& expr : stmt.exprs) walk(*expr, frame);
}

void Resolver::walk_for(Stmt& stmt, const Frame& frame) {
  Symbols body(frame.symbols, frame.function), otherwise(frame.symbols, frame.function);
  const auto check_loop = [&](const Expr& name) {
    if (name.store && !name.parameter && name.name == "loop")
      syntax_error(program_.name, name.line, "Can't assign to special loop variable in for-loop target");
  };
  visit_names(*stmt.targets[0], check_loop);
  for (const Block& block : stmt.bodies) visit_names(block, check_loop);
  const bool uses_loop = !undeclared(stmt.bodies[0], {"loop"}).empty();
  if (uses_loop) body.declare("loop");
  body.analyze_target(*stmt.targets[0], true);
  body.analyze(stmt.bodies[0]);
  if (stmt.has_else) otherwise.analyze(stmt.bodies[1]);

  const Frame body_frame{&body, frame.function, false, false};
  if (stmt.exprs[1]) {
    Symbols filter(frame.symbols, frame.function, /*of_filter=*/true);
    filter.analyze_target(*stmt.targets[0], true);
    filter.analyze(*stmt.exprs[1]);
    const Frame filter_frame{&filter, frame.function, false, false};
    stmt.targets.push_back(copy_target(*stmt.targets[0]));
    walk_target(*stmt.targets[1], filter_frame);
    walk(*stmt.exprs[1], filter_frame);
    stmt.test_scope = filter.scope(&program_);
  }
  walk_target(*stmt.targets[0], body_frame);
  walk(*stmt.exprs[0], frame);
  Slot loop;
  if (uses_loop && body.find("loop", &loop)) stmt.loop_slot = loop.index;
  stmt.scope = body.scope(&program_);
  walk(stmt.bodies[0], body_frame);
  if (!stmt.has_else) return;
  stmt.else_scope = otherwise.scope(&program_);
  walk(stmt.bodies[1], {&otherwise, frame.function, false, false});
}

// Resolves the body of a filter block or set block, and its filter.
void Resolver::walk_inner(Stmt& stmt, const Frame& frame) {
  Symbols inner(frame.symbols, frame.function);
  inner.analyze(stmt.bodies[0]);
  if (stmt.kind == StmtKind::kFilterBlock) inner.analyze(*stmt.exprs[0]);
  const Frame inner_frame{&inner, frame.function, false, false};
  stmt.scope = inner.scope(&program_);
  walk(stmt.bodies[0], inner_frame);
  if (stmt.exprs[0]) walk(*stmt.exprs[0], inner_frame);
}

void Resolver::walk_with(Stmt& stmt, const Frame& frame) {
  Symbols inner(frame.symbols, frame.function);
  for (ExprPtr& target : stmt.targets) inner.analyze_target(*target, true);
  inner.analyze(stmt.bodies[0]);
  const Frame inner_frame{&inner, frame.function, false, false};
  stmt.scope = inner.scope(&program_);
  for (ExprPtr& target : stmt.targets) walk_target(*target, inner_frame);
  for (ExprPtr& value : stmt.exprs) walk(*value, frame);
  walk(stmt.bodies[0], inner_frame);
}

void Resolver::walk_macro(MacroDef* macro, int line, const Frame& frame) {
  FunctionSlots function(frame.function);
  Symbols symbols(frame.symbols, &function);
  for (const std::string& parameter : macro->parameters) symbols.declare(parameter);
  for (ExprPtr& value : macro->defaults) symbols.analyze(*value);
  symbols.analyze(macro->body);

  const auto special = [&](const std::string& name, int* slot) {
    if (undeclared(macro->body, {"caller", "kwargs", "varargs"}).count(name) == 0) return;
    for (size_t i = 0; i < macro->parameters.size(); ++i) {
      if (macro->parameters[i] != name) continue;
      if (name == "caller" && i + macro->defaults.size() < macro->parameters.size())
        syntax_error(program_.name, line, "a parameter named 'caller' must have a default");
      if (name == "caller") macro->explicit_caller = true;
      return;
    }
    symbols.declare(name);
    *slot = 0;
  };
  special("caller", &macro->caller_slot);
  special("kwargs", &macro->kwargs_slot);
  special("varargs", &macro->varargs_slot);

  const Frame inner{&symbols, &function, false, false};
  const auto slot_of = [&](const std::string& name) {
    Slot slot;
    symbols.find(name, &slot);
    return slot.index;
  };
  macro->scope = symbols.scope(&program_);
  for (const std::string& parameter : macro->parameters) macro->parameter_slots.push_back(slot_of(parameter));
  if (macro->caller_slot == 0) macro->caller_slot = slot_of("caller");
  if (macro->kwargs_slot == 0) macro->kwargs_slot = slot_of("kwargs");
  if (macro->varargs_slot == 0) macro->varargs_slot = slot_of("varargs");
  for (ExprPtr& value : macro->defaults) walk(*value, inner);
  walk(macro->body, inner);
  macro->n_slots = function.size();
}

}  // namespace

void resolve(Program* program) { Resolver(program).run(); }

}  // namespace seer::jinja
