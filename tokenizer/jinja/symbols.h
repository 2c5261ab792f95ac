// The names of one block: those that are its own, and the values of their variables when it is entered.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"

namespace seer::jinja {

// The variables of a macro, or of the template outside of macros. One activation holds them.
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

  // Call these for the names of a block in the order in which they occur.
  void load(const std::string& name);
  void store(const std::string& name);
  void declare(const std::string& name);  // a parameter, which already has its value

  // Note the names that the block itself loads and stores. Nested statements with a scope of their own are
  // left out.
  void analyze(const Block& block);
  void analyze(const Stmt& stmt);
  void analyze(const Expr& expr);
  void analyze_target(const Expr& target, bool as_parameter);

  // Sets *slot to the place of a name, seen from this block. Returns false if no block has the name.
  bool find(const std::string& name, Slot* slot) const;
  // Returns whether the name is looked up in the context, here or in the block that has it.
  bool from_context(const std::string& name) const;
  // Returns the work to do when the block is entered and left.
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
