#include "tokenizer/jinja/macro.h"

#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/repr.h"

namespace seer::jinja {

const Value& Loop::peek() {
  if (!peeked) {
    Value item;
    Meter::step();
    after = iterator.as<Iterator>().next(&item) ? std::move(item) : Value();
    peeked = !after.missing();
  }
  return after;
}

bool Loop::last() { return peek().missing(); }

bool Loop::next(Value* item) {
  if (peeked) {
    *item = std::move(after);
    peeked = false;
  } else {
    Meter::step();
    if (!iterator.as<Iterator>().next(item)) return false;
  }
  after = Value();
  ++index0;
  before = std::move(current);
  current = *item;
  return true;
}

int64_t Loop::length() {
  if (known_length >= 0) return known_length;
  if (has_length(iterable)) return known_length = length_of(iterable);
  std::vector<Value> rest;
  Each each(iterator);
  for (Value item; each.next(&item);) rest.push_back(std::move(item));
  known_length = static_cast<int64_t>(rest.size()) + index0 + 1 + (peeked ? 1 : 0);
  iterator = iterator_of(Value::list(std::move(rest)));
  return known_length;
}

std::string macro_repr(const Value& value) {
  const auto& macro = value.as<Macro>();
  const bool anonymous = macro.def == nullptr || macro.def->name.empty();
  return "<Macro " + (anonymous ? "anonymous" : in_quotes(macro.def->name)) + ">";
}

std::string loop_repr(const Value& value) {
  auto& loop = value.as<Loop>();
  const int64_t length = loop.length();
  return "<LoopContext " + std::to_string(loop.index0 + 1) + "/" + std::to_string(length) + ">";
}

}  // namespace seer::jinja
