// Values of a template, as Python has them: numbers, strings by code points, lists, dicts, and results of
// calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/jinja/text.h"

namespace seer::jinja {

enum class Type : uint8_t {
  kMissing,  // a variable's place without a value; an expression never has it
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kStr,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      // dict.keys(), dict.values(), dict.items()
  kIterator,  // generators and other iterators, which end after one pass
  kNamespace,
  kFunction,  // a global function, or a method with its object
  kMacro,
  kLoop,
  kCycler,
  kJoiner,
};

// An object that values share. Its users are counted without locks: only the rendering thread touches it, and
// literals, which all threads share, are immortal.
struct Rep {
  virtual ~Rep();
  // Counts n bytes as alive until this object is destroyed.
  void hold(size_t n_bytes);

  uint32_t refs = 0;
  bool immortal = false;
  int depth = 0;  // nesting of the values in it; a deeper one than the limit is refused when it is created
  size_t held = 0;
};

class Value {
 public:
  Value() : type_(Type::kMissing), int_(0) {}
  Value(Type type, Rep* rep) : type_(type), rep_(rep) { acquire(); }
  Value(const Value& other) : type_(other.type_), int_(other.int_) { acquire(); }
  Value(Value&& other) noexcept : type_(other.type_), int_(other.int_) { other.type_ = Type::kNone; }
  Value& operator=(Value other) noexcept {
    std::swap(type_, other.type_);
    std::swap(int_, other.int_);
    return *this;
  }
  ~Value() {
    if (shared() && !rep_->immortal && --rep_->refs == 0) delete rep_;
  }

  static Value none() { return plain(Type::kNone, 0); }
  static Value boolean(bool value) { return plain(Type::kBool, value ? 1 : 0); }
  static Value integer(int64_t value) { return plain(Type::kInt, value); }
  static Value real(double value) {
    Value result = plain(Type::kFloat, 0);
    result.double_ = value;
    return result;
  }
  // Makes a string that counts as the template's.
  static Value string(std::string_view bytes);
  static Value string(Text text, bool markup = false);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  // Makes an undefined value; `hint` is the error's text if it is used.
  static Value undefined(std::string hint);
  static Value undefined_name(std::string_view name);

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool missing() const { return type_ == Type::kMissing; }
  // True for int, and for bool, which is an int in Python.
  bool integral() const { return type_ == Type::kInt || type_ == Type::kBool; }
  bool number() const { return integral() || type_ == Type::kFloat; }
  bool sequence() const { return type_ == Type::kList || type_ == Type::kTuple; }

  bool as_bool() const { return int_ != 0; }
  int64_t as_int() const { return int_; }
  double as_double() const { return type_ == Type::kFloat ? double_ : static_cast<double>(int_); }
  Rep* rep() const { return rep_; }
  template <class T>
  T& as() const {
    return *static_cast<T*>(rep_);
  }
  const Text& text() const;
  // The items of a list or tuple.
  const std::vector<Value>& items() const;
  int depth() const { return shared() ? rep_->depth : 0; }

 private:
  static Value plain(Type type, int64_t value) {
    Value result;
    result.type_ = type;
    result.int_ = value;
    return result;
  }
  bool shared() const { return type_ == Type::kUndefined || type_ >= Type::kStr; }
  void acquire() {
    if (shared() && !rep_->immortal) ++rep_->refs;
  }

  Type type_;
  union {
    int64_t int_;
    double double_;
    Rep* rep_;
  };
};

struct Str final : Rep {
  explicit Str(Text t, bool is_markup = false);
  size_t points() const;  // the number of characters
  bool ascii() const { return points() == text.size(); }

  Text text;
  bool markup;  // result of |safe and |escape: text that is added to it is escaped

 private:
  mutable size_t n_points_ = SIZE_MAX;
};

struct Undefined final : Rep {
  std::string message;  // the error's text if the value is used
  bool security = false;
};

struct List final : Rep {  // tuples too
  std::vector<Value> items;
};

// A dict in the order of insertion. Keys are hashable values.
struct Dict final : Rep {
  const Value* find(const Value& key) const;  // throws a TypeError for a key that cannot be hashed
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);

  std::vector<std::pair<Value, Value>> items;

 private:
  size_t position(const Value& key, size_t hash) const;
  std::vector<size_t> hashes_;
  std::unordered_multimap<size_t, size_t> index_;  // from hash to position; used if there are more than a few
                                                   // items
};

struct Range final : Rep {
  int64_t size() const;
  Value at(int64_t i) const { return Value::integer(start + i * step); }
  int64_t start = 0, stop = 0, step = 1;
};

enum class ViewKind { kKeys, kValues, kItems };
struct View final : Rep {
  size_t size() const { return dict.as<Dict>().items.size(); }
  Value at(size_t i) const;
  ViewKind kind = ViewKind::kKeys;
  Value dict;
};

struct Iterator : Rep {
  // Returns false at the end, and on every call after that.
  virtual bool next(Value* item) = 0;
};

struct Namespace final : Rep {
  Value dict;
};

struct Cycler final : Rep {
  std::vector<Value> items;
  size_t at = 0;
};

struct Joiner final : Rep {
  Value separator;
  bool used = false;
};

enum class Global : uint8_t;
struct Function final : Rep {
  std::string_view name;
  Value self;  // a missing value for a global function
};

// Makes a Value of `rep`. Sets its depth from the values in `inside`, and counts its memory.
template <class T>
Value make(Type type, T* rep, size_t n_bytes, std::initializer_list<const Value*> inside = {}) {
  Value result(type, rep);
  for (const Value* v : inside) rep->depth = std::max(rep->depth, v->depth() + 1);
  rep->hold(sizeof(T) + n_bytes);
  return result;
}

Value make_dict(std::vector<std::pair<Value, Value>> items);

}  // namespace seer::jinja
