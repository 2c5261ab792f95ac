// Iteration over values as Python does it, and search within texts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace seer::jinja {

// An iterator over the value; a value that is an iterator gives itself. Throws a TypeError with `message`
// (a default one when it is empty) for what cannot be iterated over.
Value iterator_of(const Value& value, const std::string& message = {});
bool iterable(const Value& value);
// len(); throws a TypeError for what has none.
int64_t length_of(const Value& value);
bool has_length(const Value& value);
// A new list of what iteration gives.
std::vector<Value> items_of(const Value& value, const std::string& message = {});

// A loop over a value. Counts a step an item.
class Each {
 public:
  explicit Each(const Value& value, const std::string& message = {}) : holder_(iterator_of(value, message)) {}
  bool next(Value* item);

 private:
  Value holder_;
};

// The items of a list or tuple in reverse and such: what reversed() gives.
Value reversed(const Value& value);
// The character that begins at byte `at`.
Value character(const Value& str, size_t at);

// Position of `pattern` in `text` from `from` on, npos when it is not there. Counts its steps.
size_t find_bytes(std::string_view text, std::string_view pattern, size_t from);

template <class T>
Value make_iterator(T* iterator, std::initializer_list<const Value*> inside) {
  return make(Type::kIterator, static_cast<Iterator*>(iterator), sizeof(T), inside);
}

}  // namespace seer::jinja
