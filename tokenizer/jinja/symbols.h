// The names of one block: which of them are its own, and what their variables hold when it is entered.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"

namespace seer::jinja {

// The variables of a macro, or of the template outside of macros: what one activation holds.
struct FunctionSlots {
  explicit FunctionSlots(FunctionSlots* outer) : parent(outer) {}
  int slot(int level, bool of_filter, const std::string& name);
  int size() const { return static_cast<int>(slots.size()); }

  FunctionSlots* parent;
  std::map<std::pair<int, std::string>, int> slots;
};

class Symbols {
 public:
  Symbols(Symbols* parent, FunctionSlots* function, bool of_filter = false);

  // As a name is met in the block's order.
  void load(const std::string& name);
  void store(const std::string& name);
  void declare(const std::string& name);  // a parameter: it has its value already

  // What the block itself loads and stores; statements within that have a scope of their own are left out.
  void analyze(const Block& block);
  void analyze(const Stmt& stmt);
  void analyze(const Expr& expr);
  void analyze_target(const Expr& target, bool as_parameter);

  // The place of a name, seen from this block. False where no block has it.
  bool find(const std::string& name, Slot* slot) const;
  // What is to be done when the block is entered and left.
  Scope scope(Program* program) const;

 private:
  enum class Origin { kContext, kOuter, kMissing, kParameter };

  const Symbols* owner(const std::string& name) const;
  Slot place_from(const FunctionSlots* function, const std::string& name) const;
  void analyze_if(const Stmt& stmt, size_t branch);
  void merge(const std::vector<Symbols>& branches);

  Symbols* parent_;
  FunctionSlots* function_;
  int level_;
  bool of_filter_;
  std::map<std::string, Origin> names_;
  std::set<std::string> stores_;
};

}  // namespace seer::jinja
