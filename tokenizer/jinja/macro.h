// Values that the interpreter creates: macros, and the special variable of a loop.
#pragma once

#include <string>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// The variables of one run of a macro, or of the template outside of macros.
struct Activation {
  std::vector<Value> slots;
  Activation* outer = nullptr;
  bool captured = false;  // a macro was defined in it, and may outlive the run
};

struct Macro final : Rep {
  const MacroDef* def = nullptr;  // null for the caller of a generation block
  Activation* outer = nullptr;
};

// The variable `loop`, as jinja2's LoopContext.
struct Loop final : Rep {
  bool next(Value* item);
  bool last();
  int64_t length();
  const Value& peek();  // a missing value at the end

  Value iterable;
  Value iterator;
  int64_t index0 = -1;
  int64_t known_length = -1;
  Value before, current, after;
  bool peeked = false;
  std::vector<Value> changed;
  bool has_changed = false;
};

std::string macro_repr(const Value& macro);
std::string loop_repr(const Value& loop);

}  // namespace seer::jinja
