// Visits the names of statements and expressions in the order of jinja2's trees.
#pragma once

#include <functional>

#include "tokenizer/jinja/ast.h"

namespace seer::jinja {

// Calls `visit` for all names below: loads, assignments and parameters, also those of nested macros.
using NameVisitor = std::function<void(const Expr& name)>;
void visit_names(const Expr& expr, const NameVisitor& visit);
void visit_names(const Block& block, const NameVisitor& visit);

// Calls `visit` for every direct operand of the expression; null operands are left out.
void visit_children(const Expr& expr, const std::function<void(Expr&)>& visit);

}  // namespace seer::jinja
