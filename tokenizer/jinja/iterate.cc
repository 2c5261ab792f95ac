#include "tokenizer/jinja/iterate.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"

namespace seer::jinja {
namespace {

// Iterates over a value that has a length and items by number.
class IndexIterator final : public Iterator {
 public:
  IndexIterator(Value value, int64_t begin, int64_t end, int64_t step)
      : value_(std::move(value)), at_(begin), end_(end), step_(step) {}

  bool next(Value* item) override {
    if (at_ == end_) return false;
    const auto i = static_cast<size_t>(at_);
    switch (value_.type()) {
      case Type::kRange:
        *item = value_.as<Range>().at(at_);
        break;
      case Type::kDict:
        *item = value_.as<Dict>().items[i].first;
        break;
      case Type::kView:
        *item = value_.as<View>().at(i);
        break;
      default:
        *item = value_.items()[i];
    }
    at_ += step_;
    return true;
  }

 private:
  Value value_;
  int64_t at_, end_, step_;
};

class CharacterIterator final : public Iterator {
 public:
  explicit CharacterIterator(Value str) : str_(std::move(str)) {}

  bool next(Value* item) override {
    const Text& text = str_.text();
    if (at_ >= text.size()) return false;
    // In Python, iterating over markup gives plain strings.
    const size_t end = at_ + point_size(text.bytes[at_]);
    *item = Value::string(cut(text, at_, end));
    at_ = end;
    return true;
  }

 private:
  Value str_;
  size_t at_ = 0;
};

class EmptyIterator final : public Iterator {
 public:
  bool next(Value*) override { return false; }
};

template <class T>
Value hold(std::unique_ptr<T> iterator, const Value& inside) {
  return make_iterator(iterator.release(), {&inside});
}

bool indexed(const Value& value) {
  return value.sequence() || value.is(Type::kDict) || value.is(Type::kRange) || value.is(Type::kView);
}

}  // namespace

bool iterable(const Value& value) {
  return indexed(value) || value.is(Type::kStr) || value.is(Type::kUndefined) || value.is(Type::kIterator) ||
         value.is(Type::kLoop);
}

Value iterator_of(const Value& value, const std::string& message) {
  if (value.is(Type::kIterator)) return value;
  if (indexed(value)) return hold(std::make_unique<IndexIterator>(value, 0, length_of(value), 1), value);
  if (value.is(Type::kStr)) return hold(std::make_unique<CharacterIterator>(value), value);
  if (value.is(Type::kUndefined)) return hold(std::make_unique<EmptyIterator>(), value);
  if (value.is(Type::kLoop)) fail(ErrorType::kUnsupported, "iterating over 'loop' is not supported");
  type_error(message.empty() ? "'" + type_name(value) + "' object is not iterable" : message);
}

bool has_length(const Value& value) {
  return indexed(value) || value.is(Type::kStr) || value.is(Type::kUndefined);
}

int64_t length_of(const Value& value) {
  switch (value.type()) {
    case Type::kStr:
      return static_cast<int64_t>(value.as<Str>().points());
    case Type::kList:
    case Type::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Type::kDict:
      return static_cast<int64_t>(value.as<Dict>().items.size());
    case Type::kRange:
      return value.as<Range>().size();
    case Type::kView:
      return static_cast<int64_t>(value.as<View>().size());
    case Type::kUndefined:
      return 0;
    case Type::kLoop:
      fail(ErrorType::kUnsupported, "the length of 'loop' is not supported: loop.length has it");
    default:
      type_error("object of type '" + type_name(value) + "' has no len()");
  }
}

std::vector<Value> items_of(const Value& value, const std::string& message) {
  if (value.sequence()) {
    Meter::step(static_cast<int64_t>(value.items().size()));
    return value.items();
  }
  std::vector<Value> items;
  Each each(value, message);
  for (Value item; each.next(&item);) items.push_back(std::move(item));
  return items;
}

bool Each::next(Value* item) {
  Meter::step();
  return holder_.as<Iterator>().next(item);
}

Value reversed(const Value& value) {
  const bool possible =
      value.sequence() || value.is(Type::kDict) || value.is(Type::kRange) || value.is(Type::kView);
  if (possible) {
    const int64_t n = length_of(value);
    return hold(std::make_unique<IndexIterator>(value, n - 1, -1, -1), value);
  }
  if (value.is(Type::kStr)) {
    std::vector<Value> characters = items_of(value);
    std::reverse(characters.begin(), characters.end());
    const Value list = Value::list(std::move(characters));
    return hold(std::make_unique<IndexIterator>(list, 0, length_of(list), 1), list);
  }
  if (value.is(Type::kUndefined)) return iterator_of(value);
  type_error("'" + type_name(value) + "' object is not reversible");
}

Value character(const Value& str, size_t at) {
  const Text& text = str.text();
  return Value::string(cut(text, at, at + point_size(text.bytes[at])), str.as<Str>().markup);
}

size_t find_bytes(std::string_view text, std::string_view pattern, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (pattern.empty()) return from;
  // memmem is linear in both sizes, which std::string_view::find is not.
  const void* found = memmem(text.data() + from, text.size() - from, pattern.data(), pattern.size());
  const size_t at = found == nullptr ? std::string_view::npos
                                     : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  // memmem takes ten times as long for patterns of one repeated letter with another one at the end.
  Meter::touch(((found == nullptr ? text.size() : at) - from) * (pattern.size() < 16 ? 1 : 8) +
               pattern.size());
  return at;
}

}  // namespace seer::jinja
