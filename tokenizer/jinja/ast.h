// A parsed template: statements and expressions, with each name's place among a rendering's variables.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class ExprKind {
  kConst,
  kName,
  kNamespaceRef,
  kList,
  kTuple,
  kDict,
  kNot,
  kNegative,
  kPositive,
  kAnd,
  kOr,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kConcat,
  kCompare,
  kConditional,
  kAttribute,
  kItem,
  kSlice,
  kCall,
  kFilter,
  kTest,
};

enum class CompareOp { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

// A variable's place: `hops` activations outward, then a slot. Activations are those of the template itself
// and of macros.
struct Slot {
  int hops = 0;
  int index = -1;
};

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr more_positional, more_named;  // *args, **kwargs
};

struct FilterEntry;
struct TestEntry;

struct Expr {
  ExprKind kind;
  int line = 1;
  int depth = 1;  // of the tree below
  Value constant;
  // Of a name, attribute, filter or test; of a namespace reference the namespace's.
  std::string name;
  std::string attribute;   // of a namespace reference
  bool store = false;      // a name that is assigned to
  bool parameter = false;  // of a macro, or of a with block
  Slot slot;
  // Operands in order. Dicts: keys and values by turns. Conditional: test, then, else (may be null).
  // Slice: object, start, stop, step (may be null). A filter of a block has a null operand.
  std::vector<ExprPtr> items;
  std::vector<CompareOp> compare;
  CallArguments call;
  const FilterEntry* filter = nullptr;
  const TestEntry* test = nullptr;
};

// What sets a slot when a block is entered.
struct Load {
  enum class From { kContext, kOuter, kMissing } from = From::kMissing;
  int index = 0;     // the slot
  int variable = 0;  // kContext: number of the context's variable
  Slot outer;        // kOuter
};
struct Scope {
  std::vector<Load> loads;
  std::vector<int> slots;  // that lose their values when the block is left
};

// A macro, or the body of a call block.
struct MacroDef {
  std::string name;  // empty for a call block
  std::vector<std::string> parameters;
  std::vector<int> parameter_slots;
  std::vector<ExprPtr> defaults;                              // of the last parameters
  int caller_slot = -1, kwargs_slot = -1, varargs_slot = -1;  // -1 when the body does not use them
  bool explicit_caller = false;
  int n_slots = 0;
  Scope scope;
  Block body;
  std::vector<ExprPtr> arguments;  // the parameters' names, until places are given to them
};

enum class StmtKind {
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kBreak,
  kContinue,
  kGeneration
};

struct Stmt {
  StmtKind kind;
  int line = 1;
  std::vector<ExprPtr>
      exprs;  // kOutput: parts. kIf: tests. kFor: iterable, filter (may be null). kSet: value.
              // kSetBlock, kFilterBlock: filter (may be null). kWith: values. kCallBlock: call.
  std::vector<ExprPtr> targets;
  std::vector<Block> bodies;  // kIf: one a test, and the else branch. kFor: body, else. Others: body.
  bool has_else = false;
  // kFor: of the body, the filter and the else branch. Others: of the body.
  Scope scope, test_scope, else_scope;
  // kFor's filter assigns the same targets by itself.
  int loop_slot = -1;
  std::unique_ptr<MacroDef> macro;
  Slot macro_slot;
  std::vector<std::pair<int, Slot>> exports;  // context variables that an assignment at the top level sets
};

struct Program {
  std::string name;
  std::vector<std::unique_ptr<Str>> literals;  // which the expressions refer to: it is destroyed after them
  Block body;
  Scope scope;
  int n_slots = 0;
  std::vector<std::string> variables;  // of the context, by number
  std::unordered_map<std::string, int> variable_numbers;
  std::set<std::string, std::less<>> reads;  // of the context, by an expression
};

}  // namespace seer::jinja
