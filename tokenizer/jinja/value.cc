#include "tokenizer/jinja/value.h"

#include <algorithm>

#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"

namespace seer::jinja {
namespace {

constexpr size_t kSmallDict = 8;  // with fewer items, a walk over the hashes is faster than an index

Value make_list(Type type, std::vector<Value> items) {
  auto* list = new List;
  Value result(type, list);
  list->items = std::move(items);
  for (const Value& item : list->items) list->depth = std::max(list->depth, item.depth() + 1);
  list->hold(sizeof(List) + list->items.capacity() * sizeof(Value));
  Meter::depth(list->depth);
  return result;
}

}  // namespace

Rep::~Rep() {
  if (held != 0) Meter::release(held);
}

void Rep::hold(size_t n_bytes) {
  Meter::depth(depth);
  Meter::step(3);  // the cost of an allocation, in addition to the steps of its expression
  held += Meter::hold(n_bytes);
}

Str::Str(Text t, bool is_markup) : text(std::move(t)), markup(is_markup) {}

size_t Str::points() const {
  if (n_points_ == SIZE_MAX) n_points_ = count_points(text.bytes);
  return n_points_;
}

Value Value::string(std::string_view bytes) { return string(Text{std::string(bytes), {}}); }

Value Value::string(Text text, bool markup) {
  auto* str = new Str(std::move(text), markup);
  Value result(Type::kStr, str);
  str->hold(sizeof(Str) + str->text.bytes.capacity() + str->text.runs.capacity() * sizeof(size_t) * 2);
  return result;
}

Value Value::list(std::vector<Value> items) { return make_list(Type::kList, std::move(items)); }
Value Value::tuple(std::vector<Value> items) { return make_list(Type::kTuple, std::move(items)); }

Value Value::undefined(std::string hint) {
  auto* rep = new Undefined;
  rep->message = std::move(hint);
  return make(Type::kUndefined, rep, 0);
}

Value Value::undefined_name(std::string_view name) {
  return undefined("'" + std::string(name) + "' is undefined");
}

const Text& Value::text() const { return as<Str>().text; }
const std::vector<Value>& Value::items() const { return as<List>().items; }

const Value* Dict::find(const Value& key) const {
  const size_t at = position(key, hash_of(key));
  return at == items.size() ? nullptr : &items[at].second;
}

const Value* Dict::find(std::string_view key) const {
  const size_t hash = hash_of(key);
  const auto same = [&](size_t at) {
    return items[at].first.is(Type::kStr) && items[at].first.text().bytes == key;
  };
  if (items.size() <= kSmallDict) {
    for (size_t i = 0; i < items.size(); ++i)
      if (hashes_[i] == hash && same(i)) return &items[i].second;
    return nullptr;
  }
  const auto [first, last] = index_.equal_range(hash);
  for (auto it = first; it != last; ++it)
    if (same(it->second)) return &items[it->second].second;
  return nullptr;
}

size_t Dict::position(const Value& key, size_t hash) const {
  if (items.size() <= kSmallDict) {
    for (size_t i = 0; i < items.size(); ++i)
      if (hashes_[i] == hash && equal(items[i].first, key)) return i;
    return items.size();
  }
  const auto [first, last] = index_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    Meter::step();
    if (equal(items[it->second].first, key)) return it->second;
  }
  return items.size();
}

void Dict::set(Value key, Value value) {
  Meter::step(4);
  const size_t hash = hash_of(key), at = position(key, hash);
  depth = std::max({depth, key.depth() + 1, value.depth() + 1});
  if (at < items.size()) {
    items[at].second = std::move(value);
    Meter::depth(depth);
    return;
  }
  items.emplace_back(std::move(key), std::move(value));
  hashes_.push_back(hash);
  if (items.size() == kSmallDict + 1) {
    for (size_t i = 0; i < items.size(); ++i) index_.emplace(hashes_[i], i);
  } else if (items.size() > kSmallDict) {
    index_.emplace(hash, items.size() - 1);
  }
  hold(sizeof(items[0]) + sizeof(size_t) * 6);
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): the entries are moved
Value make_dict(std::vector<std::pair<Value, Value>> items) {
  auto* dict = new Dict;
  Value result(Type::kDict, dict);
  dict->hold(sizeof(Dict));
  for (auto& [key, value] : items) dict->set(std::move(key), std::move(value));
  return result;
}

int64_t Range::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  // Unsigned arithmetic is used because the difference of two integers can be wider than they are.
  const uint64_t low = static_cast<uint64_t>(step > 0 ? start : stop);
  const uint64_t span = static_cast<uint64_t>(step > 0 ? stop : start) - low;
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : ~static_cast<uint64_t>(step) + 1;
  return static_cast<int64_t>(std::min<uint64_t>((span - 1) / stride + 1, INT64_MAX));
}

Value View::at(size_t i) const {
  const auto& [key, value] = dict.as<Dict>().items[i];
  switch (kind) {
    case ViewKind::kKeys:
      return key;
    case ViewKind::kValues:
      return value;
    case ViewKind::kItems:
      break;
  }
  return Value::tuple({key, value});
}

}  // namespace seer::jinja
