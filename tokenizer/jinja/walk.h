// Visits the names of statements and expressions in the order of jinja2's trees.
#pragma once

#include <functional>

#include "tokenizer/jinja/ast.h"

namespace seer::jinja {

// Of all names below: loads, assignments and parameters, also those of macros within.
using NameVisitor = std::function<void(const Expr& name)>;
void visit_names(const Expr& expr, const NameVisitor& visit);
void visit_names(const Block& block, const NameVisitor& visit);

// Every expression directly within this one; null operands are left out.
void visit_children(const Expr& expr, const std::function<void(Expr&)>& visit);

}  // namespace seer::jinja
