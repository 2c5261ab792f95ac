#include "tokenizer/jinja/symbols.h"

#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/walk.h"

namespace seer::jinja {

// Blocks of the same depth come one after another and share places. A loop's filter has places of its own,
// because it looks at the next item while the loop's body runs.
int FunctionSlots::slot(int level, bool of_filter, const std::string& name) {
  const int size_before = size();
  return slots.emplace(std::make_pair(level * 2 + (of_filter ? 1 : 0), name), size_before).first->second;
}

Symbols::Symbols(Symbols* parent, FunctionSlots* function, bool of_filter)
    : parent_(parent),
      function_(function),
      level_(parent == nullptr ? 0 : parent->level_ + 1),
      of_filter_(of_filter) {}

const Symbols* Symbols::owner(const std::string& name) const {
  const Symbols* symbols = this;
  while (symbols != nullptr && symbols->names_.count(name) == 0) {
    Meter::step();
    symbols = symbols->parent_;
  }
  return symbols;
}

void Symbols::load(const std::string& name) {
  if (owner(name) == nullptr) names_[name] = Origin::kContext;
}

void Symbols::store(const std::string& name) {
  stores_.insert(name);
  if (names_.count(name) != 0) return;
  names_[name] = parent_ != nullptr && parent_->owner(name) != nullptr ? Origin::kOuter : Origin::kMissing;
}

void Symbols::declare(const std::string& name) {
  stores_.insert(name);
  names_[name] = Origin::kParameter;
}

void Symbols::analyze(const Expr& expr) {
  Meter::step();
  if (expr.kind == ExprKind::kName || expr.kind == ExprKind::kNamespaceRef) return load(expr.name);
  visit_children(expr, [&](Expr& child) { analyze(child); });
}

void Symbols::analyze_target(const Expr& target, bool as_parameter) {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : target.items) analyze_target(*item, as_parameter);
  } else if (target.kind == ExprKind::kNamespaceRef) {
    load(target.name);
  } else if (as_parameter) {
    declare(target.name);
  } else {
    store(target.name);
  }
}

void Symbols::analyze(const Block& block) {
  for (const auto& stmt : block) analyze(*stmt);
}

void Symbols::analyze(const Stmt& stmt) {
  Meter::step();
  switch (stmt.kind) {
    case StmtKind::kIf:
      return analyze_if(stmt, 0);
    case StmtKind::kSet:
      analyze(*stmt.exprs[0]);
      return analyze_target(*stmt.targets[0], false);
    case StmtKind::kSetBlock:  // jinja2 ignores the names in its filter
      return analyze_target(*stmt.targets[0], false);
    case StmtKind::kMacro:
      return store(stmt.macro->name);
    case StmtKind::kFor:
      return analyze(*stmt.exprs[0]);
    default:
      for (const ExprPtr& expr : stmt.exprs) analyze(*expr);
  }
}

// The branches are analyzed independently, each from the state of the names before the statement. All elif
// branches together are one of three: body, elif, else.
void Symbols::analyze_if(const Stmt& stmt, size_t branch) {
  analyze(*stmt.exprs[branch]);
  const auto copy = [&] {
    Meter::step(static_cast<int64_t>(4 * (names_.size() + stores_.size()) + 1));
    return *this;
  };
  std::vector<Symbols> branches(3, Symbols(parent_, function_, of_filter_));
  branches[0] = copy();
  branches[0].analyze(stmt.bodies[branch]);
  branches[1] = copy();
  if (branch == 0)
    for (size_t i = 1; i < stmt.exprs.size(); ++i) branches[1].analyze_if(stmt, i);
  branches[2] = copy();
  if (branch == 0 && stmt.has_else) branches[2].analyze(stmt.bodies.back());
  merge(branches);
}

void Symbols::merge(const std::vector<Symbols>& branches) {
  std::set<std::string> stores;
  for (const Symbols& branch : branches)
    for (const std::string& name : branch.stores_)
      if (stores_.count(name) == 0) stores.insert(name);
  for (const Symbols& branch : branches) {
    for (const auto& [name, origin] : branch.names_) names_[name] = origin;
    stores_.insert(branch.stores_.begin(), branch.stores_.end());
    Meter::step(static_cast<int64_t>(4 * (branch.names_.size() + branch.stores_.size())));
  }
  for (const std::string& name : stores)
    names_[name] = parent_ != nullptr && parent_->owner(name) != nullptr ? Origin::kOuter : Origin::kContext;
}

Slot Symbols::place_from(const FunctionSlots* function, const std::string& name) const {
  Slot slot;
  for (; function != function_; function = function->parent) ++slot.hops;
  slot.index = function_->slot(level_, of_filter_, name);
  return slot;
}

bool Symbols::find(const std::string& name, Slot* slot) const {
  const Symbols* symbols = owner(name);
  if (symbols == nullptr) return false;
  *slot = symbols->place_from(function_, name);
  return true;
}

bool Symbols::from_context(const std::string& name) const {
  const Symbols* symbols = owner(name);
  while (symbols != nullptr && symbols->names_.at(name) == Origin::kOuter)
    symbols = symbols->parent_->owner(name);
  return symbols != nullptr && symbols->names_.at(name) == Origin::kContext;
}

Scope Symbols::scope(Program* program) const {
  Scope scope;
  for (const auto& [name, origin] : names_) {
    Load load;
    load.index = function_->slot(level_, of_filter_, name);
    scope.slots.push_back(load.index);
    if (origin == Origin::kParameter) continue;
    load.from = origin == Origin::kContext ? Load::From::kContext
                : origin == Origin::kOuter ? Load::From::kOuter
                                           : Load::From::kMissing;
    if (origin == Origin::kContext) {
      const int n = static_cast<int>(program->variables.size());
      const auto [it, added] = program->variable_numbers.emplace(name, n);
      if (added) program->variables.push_back(name);
      load.variable = it->second;
    } else if (origin == Origin::kOuter) {
      load.outer = parent_->owner(name)->place_from(function_, name);
    }
    scope.loads.push_back(load);
  }
  return scope;
}

}  // namespace seer::jinja
