// Gives every name of a parsed template its place, by jinja2's rules of scope. A block that assigns to a name
// has a variable of its own from its beginning on. A name that no outer block has is looked up in the context
// when the block is entered.
#pragma once

#include "tokenizer/jinja/ast.h"

namespace seer::jinja {

// Throws Error{kFile} for an error that jinja2 reports when it compiles a template, and Error{kUnsupported}
// for names that are not supported.
void resolve(Program* program);

}  // namespace seer::jinja
