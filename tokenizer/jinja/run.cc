// Runs statements.
#include <algorithm>

#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {

// Collects the output of statements in a text of its own.
class Interpreter::Capture {
 public:
  explicit Capture(Interpreter* interpreter) : interpreter_(*interpreter), before_(interpreter_.out_) {
    interpreter_.out_ = &builder_;
  }
  ~Capture() { interpreter_.out_ = before_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  Value take() {
    interpreter_.out_ = before_;
    return Value::string(builder_.take());
  }

 private:
  Interpreter& interpreter_;
  TextBuilder builder_;
  TextBuilder* before_;
};

// The items of a loop that pass its filter. The filter is applied when the next item is wanted.
class Interpreter::FilteredIterator final : public Iterator {
 public:
  FilteredIterator(Interpreter* interpreter, const Stmt& stmt, const Value& iterable)
      : interpreter_(*interpreter), stmt_(stmt), each_(iterable) {}

  bool next(Value* item) override {
    if (!entered_) interpreter_.enter(stmt_.test_scope);
    entered_ = true;
    while (each_.next(item)) {
      interpreter_.assign(*stmt_.targets[1], *item);
      if (!truthy(interpreter_.eval(*stmt_.exprs[1]))) continue;
      *item = interpreter_.target_value(*stmt_.targets[1]);
      return true;
    }
    return false;
  }

 private:
  Interpreter& interpreter_;
  const Stmt& stmt_;
  Each each_;
  bool entered_ = false;
};

Interpreter::Deeper::Deeper(int* depth, int limit, const char* what) : depth_(*depth) {
  if (++depth_ <= limit) return;
  --depth_;
  fail(ErrorType::kUnsupported,
       "more than " + std::to_string(limit) + " " + what + " within one another are not supported");
}

Interpreter::Interpreter(const Program& program, std::vector<Value> variables, std::time_t now)
    : program_(program), variables_(std::move(variables)), now_(now) {}

Interpreter::~Interpreter() {
  for (const Value& space : namespaces_) space.as<Namespace>().dict = Value::none();
}

Text Interpreter::run() {
  activations_.push_back(std::make_unique<Activation>());
  activation_ = activations_.back().get();
  activation_->slots.resize(static_cast<size_t>(program_.n_slots));
  TextBuilder out;
  out_ = &out;
  enter(program_.scope);
  run(program_.body);
  return out.take();
}

void Interpreter::enter(const Scope& scope) {
  for (const Load& load : scope.loads) {
    Value& to = activation_->slots[static_cast<size_t>(load.index)];
    switch (load.from) {
      case Load::From::kContext:
        to = resolve(load.variable);
        break;
      case Load::From::kOuter:
        to = slot(load.outer);
        break;
      case Load::From::kMissing:
        to = Value();
    }
  }
}

void Interpreter::leave(const Scope& scope) {
  for (const int index : scope.slots) activation_->slots[static_cast<size_t>(index)] = Value();
}

Value& Interpreter::slot(const Slot& slot) {
  Activation* activation = activation_;
  for (int i = 0; i < slot.hops; ++i) activation = activation->outer;
  return activation->slots[static_cast<size_t>(slot.index)];
}

Value Interpreter::resolve(int variable) {
  const Value& value = variables_[static_cast<size_t>(variable)];
  return value.missing() ? global(program_.variables[static_cast<size_t>(variable)]) : value;
}

void Interpreter::export_names(const Stmt& stmt) {
  for (const auto& [variable, place] : stmt.exports) variables_[static_cast<size_t>(variable)] = slot(place);
}

Interpreter::Flow Interpreter::run(const Block& block) {
  for (const auto& stmt : block) {
    const Flow flow = run(*stmt);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const Stmt& stmt) {
  Meter::step();
  const Deeper deeper(&depth_, kMaxDepth, "operations and statements");
  line_ = stmt.line;
  switch (stmt.kind) {
    case StmtKind::kOutput:
      run_output(stmt);
      break;
    case StmtKind::kIf:
      return run_if(stmt);
    case StmtKind::kFor:
      return run_for(stmt);
    case StmtKind::kSet:
      run_set(stmt);
      break;
    case StmtKind::kSetBlock:
      return run_set_block(stmt);
    case StmtKind::kMacro:
      slot(stmt.macro_slot) = make_macro(*stmt.macro);
      export_names(stmt);
      break;
    case StmtKind::kCallBlock:
    case StmtKind::kGeneration:
      run_call_block(stmt);
      break;
    case StmtKind::kFilterBlock:
      return run_filter_block(stmt);
    case StmtKind::kWith:
      return run_with(stmt);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

void Interpreter::run_output(const Stmt& stmt) {
  for (const ExprPtr& part : stmt.exprs) {
    if (part->kind == ExprKind::kConst && part->constant.is(Type::kStr)) {
      out_->append(part->constant.text());
      continue;
    }
    line_ = part->line;
    append_str(out_, eval(*part));
  }
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt) {
  for (size_t i = 0; i < stmt.exprs.size(); ++i) {
    line_ = stmt.exprs[i]->line;
    if (truthy(eval(*stmt.exprs[i]))) return run(stmt.bodies[i]);
  }
  return stmt.has_else ? run(stmt.bodies.back()) : Flow::kNext;
}

Interpreter::Flow Interpreter::run_for(const Stmt& stmt) {
  Value iterable = eval(*stmt.exprs[0]);
  if (stmt.exprs[1]) iterable = make_iterator(new FilteredIterator(this, stmt, iterable), {&iterable});
  bool completed = false;
  run_loop(stmt, iterable, &completed);
  leave(stmt.scope);
  if (completed || !stmt.has_else) return Flow::kNext;
  enter(stmt.else_scope);
  const Flow flow = run(stmt.bodies[1]);
  leave(stmt.else_scope);
  return flow;
}

// Runs a loop. *completed becomes true if the body ran to its end at least once, without break and continue;
// jinja2's else depends on that.
Interpreter::Flow Interpreter::run_loop(const Stmt& stmt, const Value& iterable, bool* completed) {
  Value loop_value, iterator = iterator_of(iterable);
  Loop* loop = nullptr;
  if (stmt.loop_slot >= 0) {
    loop = new Loop;
    loop_value = Value(Type::kLoop, loop);
    loop->iterable = iterable;
    loop->iterator = iterator;
    loop->depth = iterator.depth() + 1;
    loop->hold(sizeof(Loop));
  }
  Value item;
  while (true) {
    if (loop != nullptr) {
      if (!loop->next(&item)) break;
    } else {
      Meter::step();
      if (!iterator.as<Iterator>().next(&item)) break;
    }
    assign(*stmt.targets[0], std::move(item));
    if (loop != nullptr) activation_->slots[static_cast<size_t>(stmt.loop_slot)] = loop_value;
    enter(stmt.scope);
    const Flow flow = run(stmt.bodies[0]);
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNext) *completed = true;
  }
  return Flow::kNext;
}

void Interpreter::run_set(const Stmt& stmt) {
  check_namespaces(*stmt.targets[0]);
  assign(*stmt.targets[0], eval(*stmt.exprs[0]));
  export_names(stmt);
}

Interpreter::Flow Interpreter::run_set_block(const Stmt& stmt) {
  Value content;
  {
    Capture capture(this);
    enter(stmt.scope);
    const Flow flow = run(stmt.bodies[0]);
    if (flow != Flow::kNext) return flow;
    content = capture.take();
  }
  if (stmt.exprs[0]) content = eval_filter(*stmt.exprs[0], &content);
  assign(*stmt.targets[0], std::move(content));
  export_names(stmt);
  leave(stmt.scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_filter_block(const Stmt& stmt) {
  Value content;
  {
    Capture capture(this);
    enter(stmt.scope);
    const Flow flow = run(stmt.bodies[0]);
    if (flow != Flow::kNext) return flow;
    content = capture.take();
  }
  append_str(out_, eval_filter(*stmt.exprs[0], &content));
  leave(stmt.scope);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_with(const Stmt& stmt) {
  enter(stmt.scope);
  for (size_t i = 0; i < stmt.targets.size(); ++i) assign(*stmt.targets[i], eval(*stmt.exprs[i]));
  const Flow flow = run(stmt.bodies[0]);
  if (flow == Flow::kNext) leave(stmt.scope);
  return flow;
}

void Interpreter::run_call_block(const Stmt& stmt) {
  Value caller = make_macro(*stmt.macro);
  const Value result = stmt.kind == StmtKind::kGeneration ? call_macro(caller.as<Macro>(), {})
                                                          : eval_call(*stmt.exprs[0], caller);
  append_str(out_, result);
}

void Interpreter::check_namespaces(const Expr& target) {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : target.items) check_namespaces(*item);
  } else if (target.kind == ExprKind::kNamespaceRef && !slot(target.slot).is(Type::kNamespace)) {
    fail(ErrorType::kRuntimeError, "cannot assign attribute on non-namespace object");
  }
}

void Interpreter::set_namespace(const Expr& target, Value value) {
  const Value space = slot(target.slot);
  // When a set block assigns, jinja2 does not check the type, and would change a dict.
  if (!space.is(Type::kNamespace))
    fail(ErrorType::kUnsupported, "cannot assign attribute on non-namespace object");
  if (target.attribute[0] == '_')
    fail(ErrorType::kSecurityError,
         "Chat templates cannot store underscore-prefixed attributes on a namespace, but "
         "got '" +
             target.attribute + "'. Please rename the attribute.");
  space.as<Namespace>().dict.as<Dict>().set(Value::string(target.attribute), std::move(value));
}

void Interpreter::assign(const Expr& target, Value value) {
  if (target.kind == ExprKind::kTuple) return assign_tuple(target, value);
  if (target.kind == ExprKind::kNamespaceRef) return set_namespace(target, std::move(value));
  slot(target.slot) = std::move(value);
}

void Interpreter::assign_tuple(const Expr& target, const Value& value) {
  std::vector<Value> items;
  Each each(value, "cannot unpack non-iterable " + type_name(value) + " object");
  const size_t n = target.items.size();
  for (Value item; each.next(&item);) {
    if (items.size() == n)
      fail(ErrorType::kValueError, "too many values to unpack (expected " + std::to_string(n) + ")");
    items.push_back(std::move(item));
  }
  if (items.size() < n)
    fail(ErrorType::kValueError, "not enough values to unpack (expected " + std::to_string(n) + ", got " +
                                     std::to_string(items.size()) + ")");
  for (size_t i = 0; i < n; ++i) assign(*target.items[i], std::move(items[i]));
}

// Returns the values of the targets. In jinja2, a loop's filter passes on the targets, not the item.
Value Interpreter::target_value(const Expr& target) {
  if (target.kind != ExprKind::kTuple) return slot(target.slot);
  std::vector<Value> items;
  for (const ExprPtr& item : target.items) items.push_back(target_value(*item));
  return Value::tuple(std::move(items));
}

Value Interpreter::make_namespace(Value dict) {
  auto* space = new Namespace;
  Value value = make(Type::kNamespace, space, 0);
  space->dict = std::move(dict);
  namespaces_.push_back(value);
  return value;
}

}  // namespace seer::jinja
