#include "models/pickle.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>

#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {

using Kind = PickleValue::Kind;

class Pickle::Machine {
 public:
  Machine(Pickle* pickle, std::span<const std::byte> bytes, const std::string& origin)
      : values_(pickle->values_), bytes_(bytes), allowed_(pickle->allowed_), origin_(origin) {}

  const PickleValue* run() {
    for (size_t n = 0; n < kMaxOperations; ++n) {
      const auto opcode = static_cast<unsigned char>(integer(1));
      if (opcode == '.') return pop();
      execute(opcode);
    }
    fail("has more than " + std::to_string(kMaxOperations) + " operations, and a tensor needs some 30");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFile,
                origin_ + ": the pickle " + what +
                    ". Only plain tensors saved with torch.save are read; nothing was executed.");
  }

  // ---- reading the stream ----
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) fail("ends in the middle");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }
  uint64_t integer(size_t size) {
    uint64_t value = 0;
    if (size > bytes_.size() - at_) fail("ends in the middle");
    for (size_t i = 0; i < size; ++i) value |= std::to_integer<uint64_t>(bytes_[at_ + i]) << (8 * i);
    at_ += size;
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const size_t size = rest.find('\n');
    if (size == rest.npos) fail("ends in the middle");
    at_ += size + 1;
    return rest.substr(0, size);
  }

  // ---- the stack ----
  PickleValue* make(Kind kind) {
    values_.push_back({});
    values_.back().kind = kind;
    return &values_.back();
  }
  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* pop() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() <= marks_.back()))
      fail("takes from an empty stack");
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue* top() {
    PickleValue* value = pop();
    push(value);
    return value;
  }
  std::vector<PickleValue*> pop_mark() {
    if (marks_.empty()) fail("closes a group it never opened");
    std::vector<PickleValue*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                                    stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_tuple(std::vector<PickleValue*> items) {
    PickleValue* tuple = make(Kind::kTuple);
    tuple->items.assign(items.begin(), items.end());
    push(tuple);
  }
  void push_tuple(size_t n) {
    std::vector<PickleValue*> items;
    for (size_t i = 0; i < n; ++i) items.push_back(pop());
    std::reverse(items.begin(), items.end());
    push_tuple(std::move(items));
  }
  void push_int(int64_t value) {
    push(make(Kind::kInt));
    stack_.back()->integer = value;
  }
  void push_string(std::string_view text) {
    push(make(Kind::kString));
    stack_.back()->text = text;
  }
  void push_global(std::string_view module, std::string_view name) {
    for (const std::string& known : allowed_) {
      if (known.size() != module.size() + 1 + name.size() || !known.starts_with(module) ||
          known[module.size()] != '.' || !known.ends_with(name))
        continue;
      push(make(Kind::kGlobal));
      stack_.back()->text = known;
      return;
    }
    fail("asks for " + shown_name(module) + "." + shown_name(name));
  }
  void set_items(const std::vector<PickleValue*>& items) {
    PickleValue* dict = top();
    if (dict->kind != Kind::kDict || items.size() % 2 != 0)
      fail("puts items into something other than a dictionary");
    dict->items.insert(dict->items.end(), items.begin(), items.end());
  }
  void append(const std::vector<PickleValue*>& items) {
    PickleValue* list = top();
    if (list->kind != Kind::kTuple) fail("appends to something other than a list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }
  void get(uint64_t index) {
    const auto it = memo_.find(index);
    if (it == memo_.end()) fail("recalls what it never stored");
    push(it->second);
  }

  void reduce() {
    PickleValue* arguments = pop();
    PickleValue* function = pop();
    if (function->kind != Kind::kGlobal || arguments->kind != Kind::kTuple)
      fail("calls something that is no function");
    // This is the only call whose result later opcodes fill in.
    if (function->text == "collections.OrderedDict" && arguments->items.empty())
      return push(make(Kind::kDict));
    PickleValue* call = make(Kind::kCall);
    call->text = function->text;
    call->operand = arguments;
    push(call);
  }

  // LONG1: an integer in two's complement, of as many bytes as the first one says.
  int64_t long_integer() {
    const uint64_t size = integer(1);
    if (size > 8) fail("has an integer of more than 64 bits");
    const uint64_t value = integer(size);
    const uint64_t sign = size == 0 || size == 8 ? 0 : uint64_t{1} << (8 * size - 1);
    return static_cast<int64_t>((value ^ sign) - sign);
  }
  void push_global_from_stack() {
    const PickleValue* name = pop();
    const PickleValue* module = pop();
    if (name->kind != Kind::kString || module->kind != Kind::kString) fail("names a global without strings");
    push_global(module->text, name->text);
  }

  // ---- the opcodes ----
  void execute(unsigned char opcode) {
    if (execute_framing_or_constant(opcode) || execute_collection(opcode) || execute_memo(opcode) ||
        execute_object(opcode))
      return;
    char name[8];
    std::snprintf(name, sizeof name, "0x%02X", opcode);
    fail(std::string("has the opcode ") + name + ", which no plain tensor needs");
  }

  // Each of these returns false for an opcode of another group, and has done nothing then.
  bool execute_framing_or_constant(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const uint64_t protocol = integer(1); protocol < 2 || protocol > 4)
          fail("has protocol " + std::to_string(protocol) + ", expected 2 to 4");
        return true;
      case 0x95:  // FRAME
        integer(8);
        return true;
      case 'N':
        push(make(Kind::kNone));
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push(make(Kind::kBool));
        stack_.back()->integer = opcode == 0x88 ? 1 : 0;
        return true;
      case 'K':  // BININT1
        push_int(static_cast<int64_t>(integer(1)));
        return true;
      case 'M':  // BININT2
        push_int(static_cast<int64_t>(integer(2)));
        return true;
      case 'J':  // BININT
        push_int(static_cast<int32_t>(static_cast<uint32_t>(integer(4))));
        return true;
      case 0x8A:  // LONG1
        push_int(long_integer());
        return true;
      case 0x8C:  // SHORT_BINUNICODE
        push_string(take(integer(1)));
        return true;
      case 'X':  // BINUNICODE
        push_string(take(integer(4)));
        return true;
      default:
        return false;
    }
  }

  // Tuples, lists (which are kept as tuples) and dictionaries.
  bool execute_collection(unsigned char opcode) {
    switch (opcode) {
      case '(':  // MARK
        marks_.push_back(stack_.size());
        return true;
      case 't':  // TUPLE
        push_tuple(pop_mark());
        return true;
      case ')':  // EMPTY_TUPLE
        push_tuple(size_t{0});
        return true;
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        push_tuple(static_cast<size_t>(opcode - 0x84));
        return true;
      case ']':  // EMPTY_LIST
        push(make(Kind::kTuple));
        return true;
      case 'a': {  // APPEND
        PickleValue* item = pop();
        append({item});
        return true;
      }
      case 'e':  // APPENDS
        append(pop_mark());
        return true;
      case '}':  // EMPTY_DICT
        push(make(Kind::kDict));
        return true;
      case 's': {  // SETITEM
        PickleValue* value = pop();
        PickleValue* key = pop();
        set_items({key, value});
        return true;
      }
      case 'u':  // SETITEMS
        set_items(pop_mark());
        return true;
      default:
        return false;
    }
  }

  bool execute_memo(unsigned char opcode) {
    switch (opcode) {
      case 'q':  // BINPUT
        memo_[integer(1)] = top();
        return true;
      case 'r':  // LONG_BINPUT
        memo_[integer(4)] = top();
        return true;
      case 0x94:  // MEMOIZE
        memo_[memo_.size()] = top();
        return true;
      case 'h':  // BINGET
        get(integer(1));
        return true;
      case 'j':  // LONG_BINGET
        get(integer(4));
        return true;
      default:
        return false;
    }
  }

  // Names of classes and functions, calls of them, and references to a tensor's data.
  bool execute_object(unsigned char opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case 0x93:  // STACK_GLOBAL
        push_global_from_stack();
        return true;
      case 'Q': {  // BINPERSID
        PickleValue* id = pop();
        PickleValue* persistent = make(Kind::kPersistent);
        persistent->operand = id;
        push(persistent);
        return true;
      }
      case 'R':  // REDUCE
        reduce();
        return true;
      case 'b':  // BUILD: sets attributes of an ordered dictionary (a state_dict's _metadata), which are not
                 // needed
        pop();
        if (top()->kind != Kind::kDict) fail("sets attributes of something other than a dictionary");
        return true;
      default:
        return false;
    }
  }

  std::deque<PickleValue>& values_;
  std::span<const std::byte> bytes_;
  const std::vector<std::string>& allowed_;
  const std::string& origin_;
  uint64_t at_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, PickleValue*> memo_;
};

Pickle::Pickle(std::span<const std::byte> bytes, std::vector<std::string> allowed, const std::string& origin)
    : allowed_(std::move(allowed)), root_(Machine(this, bytes, origin).run()) {}

}  // namespace seer
