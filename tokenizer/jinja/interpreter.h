// Runs a parsed template.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/macro.h"

namespace seer::jinja {

class Interpreter {
 public:
  // `variables` has the length and order of the program's. Missing values are looked up among the globals.
  Interpreter(const Program& program, std::vector<Value> variables, std::time_t now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Text run();
  // Returns the line of the current statement.
  int line() const { return line_; }

  Value call(const Value& callee, Arguments arguments);
  std::time_t now() const { return now_; }
  // Makes a namespace. Namespaces can hold themselves, so the interpreter empties them when it is destroyed.
  Value make_namespace(Value dict);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  // Counts how deeply calls or expressions are nested.
  class Deeper {
   public:
    Deeper(int* depth, int limit, const char* what);
    ~Deeper() { --depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    int& depth_;
  };
  // The limit of nested expressions and statements, over all running macros. It bounds the machine's stack.
  static constexpr int kMaxDepth = 2000;
  class Capture;
  class FilteredIterator;

  Flow run(const Block& block);
  Flow run(const Stmt& stmt);
  void run_output(const Stmt& stmt);
  Flow run_if(const Stmt& stmt);
  Flow run_for(const Stmt& stmt);
  Flow run_loop(const Stmt& stmt, const Value& iterable, bool* completed);
  void run_set(const Stmt& stmt);
  Flow run_set_block(const Stmt& stmt);
  Flow run_filter_block(const Stmt& stmt);
  Flow run_with(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  void export_names(const Stmt& stmt);

  void enter(const Scope& scope);
  void leave(const Scope& scope);
  Value& slot(const Slot& slot);
  Value resolve(int variable);
  void assign(const Expr& target, Value value);
  void assign_tuple(const Expr& target, const Value& value);
  Value target_value(const Expr& target);
  void check_namespaces(const Expr& target);
  void set_namespace(const Expr& target, Value value);

  Value eval(const Expr& expr);
  Value eval_inner(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_concat(const Expr& expr);
  Value eval_conditional(const Expr& expr);
  Value eval_call(const Expr& expr, Value caller = {});
  Value eval_filter(const Expr& expr, const Value* content = nullptr);
  Value eval_filter_operand(const Expr& operand, const Value* content);
  Value eval_test(const Expr& expr);
  std::vector<Value> eval_list(const std::vector<ExprPtr>& exprs);
  Arguments eval_arguments(const CallArguments& call, Value caller = {});
  void add_named(Arguments* arguments, const Value& more);

  Value make_macro(const MacroDef& def);
  Value call_macro(const Macro& macro, Arguments arguments);
  void bind_macro(const MacroDef& def, Arguments arguments, Activation* activation);
  Value call_loop_method(const Function& method, Arguments arguments);

  const Program& program_;
  std::vector<Value> variables_;
  std::time_t now_;
  int line_ = 1;
  int depth_ = 0, calls_ = 0;
  TextBuilder* out_ = nullptr;
  Activation* activation_ = nullptr;
  std::vector<std::unique_ptr<Activation>> activations_;  // kept since macros may still refer to them
  std::vector<Value> namespaces_;
};

}  // namespace seer::jinja
