// A parsed template: statements and expressions, in which each name has its place among the variables of a
// rendering.
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

// The place of a variable: go `hops` activations outward, then take the slot. The template itself has an
// activation, and so has each run of a macro.
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
  int depth = 1;  // of the tree below it
  Value constant;
  // The name of a name, attribute, filter or test. For a namespace reference it is the namespace's name.
  std::string name;
  std::string attribute;   // of a namespace reference
  bool store = false;      // the name is assigned to
  bool parameter = false;  // the name is a parameter of a macro, or of a with block
  Slot slot;
  // The operands in order. Dicts: keys and values by turns. Conditional: test, then, else (may be null).
  // Slice: object, start, stop, step (may be null). A filter of a block has a null operand.
  std::vector<ExprPtr> items;
  std::vector<CompareOp> compare;
  CallArguments call;
  const FilterEntry* filter = nullptr;
  const TestEntry* test = nullptr;
};

// The value that a slot gets when a block is entered.
struct Load {
  enum class From { kContext, kOuter, kMissing } from = From::kMissing;
  int index = 0;     // the slot
  int variable = 0;  // for kContext: the number of the context's variable
  Slot outer;        // for kOuter
};
struct Scope {
  std::vector<Load> loads;
  std::vector<int> slots;  // slots that lose their values when the block is left
};

// A macro, or the body of a call block.
struct MacroDef {
  std::string name;  // empty for a call block
  std::vector<std::string> parameters;
  std::vector<int> parameter_slots;
  std::vector<ExprPtr> defaults;                              // for the last parameters
  int caller_slot = -1, kwargs_slot = -1, varargs_slot = -1;  // -1 if the body does not use them
  bool explicit_caller = false;
  int n_slots = 0;
  Scope scope;
  Block body;
  std::vector<ExprPtr> arguments;  // the parameters' names, until they are given places
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
  std::vector<Block> bodies;  // kIf: one for each test, and the else branch. kFor: body, else. Others: body.
  bool has_else = false;
  // kFor: the scopes of the body, the filter and the else branch. Others: the body's.
  Scope scope, test_scope, else_scope;
  // kFor: the slot of the variable `loop`, or -1 if the body does not use it.
  int loop_slot = -1;
  std::unique_ptr<MacroDef> macro;
  Slot macro_slot;
  std::vector<std::pair<int, Slot>> exports;  // context variables that an assignment at the top level sets
};

struct Program {
  std::string name;
  std::vector<std::unique_ptr<Str>> literals;  // expressions refer to them, so they are declared first
  Block body;
  Scope scope;
  int n_slots = 0;
  std::vector<std::string> variables;  // the context's variables, by number
  std::unordered_map<std::string, int> variable_numbers;
  std::set<std::string, std::less<>> reads;  // variables of the context that an expression reads
};

}  // namespace seer::jinja
