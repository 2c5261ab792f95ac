// Iteration over values as in Python, and search within texts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// Returns an iterator over the value; an iterator returns itself. Throws a TypeError with `message` (or a
// default one if it is empty) for a value that cannot be iterated over.
Value iterator_of(const Value& value, const std::string& message = {});
bool iterable(const Value& value);
// Python's len(). Throws a TypeError for a value that has no length.
int64_t length_of(const Value& value);
bool has_length(const Value& value);
// Returns a new list of the items that iteration gives.
std::vector<Value> items_of(const Value& value, const std::string& message = {});

// A loop over a value. Each item counts as one step.
class Each {
 public:
  explicit Each(const Value& value, const std::string& message = {}) : holder_(iterator_of(value, message)) {}
  bool next(Value* item);

 private:
  Value holder_;
};

// Returns an iterator over a sequence in reverse, as Python's reversed().
Value reversed(const Value& value);
// Returns the character that begins at byte `at`.
Value character(const Value& str, size_t at);

// Returns the position of `pattern` in `text` from `from` on, or npos if it is not there. Counts its steps.
size_t find_bytes(std::string_view text, std::string_view pattern, size_t from);

template <class T>
Value make_iterator(T* iterator, std::initializer_list<const Value*> inside) {
  return make(Type::kIterator, static_cast<Iterator*>(iterator), sizeof(T), inside);
}

}  // namespace seer::jinja
