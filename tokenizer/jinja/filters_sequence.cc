// Filters of lists and dicts.
#include <algorithm>
#include <iterator>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/jinja/operators.h"
#include "tokenizer/jinja/repr.h"
#include "tokenizer/jinja/select.h"
#include "tokenizer/jinja/strings.h"

namespace seer::jinja {
namespace {

bool given(const Value& value) { return !value.missing() && !value.is(Type::kNone); }

// An item with its key, for sorting as sorted() does: stable, also in reverse.
struct Keyed {
  Value key, item;
};

std::vector<Value> sorted(std::vector<Keyed> keyed, bool backwards) {
  const auto before = [](const Keyed& a, const Keyed& b) {
    Meter::step();
    return less(a.key, b.key);
  };
  // The sort is stable in reverse too. Equal items keep their order if the list is turned round before and
  // after sorting.
  if (backwards) std::reverse(keyed.begin(), keyed.end());
  std::stable_sort(keyed.begin(), keyed.end(), before);
  if (backwards) std::reverse(keyed.begin(), keyed.end());
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& k : keyed) items.push_back(std::move(k.item));
  return items;
}

Value default_filter(Interpreter&, const Value& value, Bound& arguments) {
  if (!value.is(Type::kUndefined) && (!flag(arguments[1]) || truthy(value))) return value;
  return arguments[0].missing() ? Value::string("") : arguments[0];
}

Value length_filter(Interpreter&, const Value& value, Bound&) { return Value::integer(length_of(value)); }

Value first(Interpreter&, const Value& value, Bound&) {
  Each each(value);
  Value item;
  return each.next(&item) ? item : Value::undefined("No first item, sequence was empty.");
}

Value last(Interpreter&, const Value& value, Bound&) {
  if (value.is(Type::kStr)) {
    const Text& text = value.text();
    if (text.size() == 0) return Value::undefined("No last item, sequence was empty.");
    return character(value, point_before(text.bytes, text.size()));
  }
  const Value iterator = reversed(value);
  Value item;
  return iterator.as<Iterator>().next(&item) ? item : Value::undefined("No last item, sequence was empty.");
}

Value list_filter(Interpreter&, const Value& value, Bound&) { return Value::list(items_of(value)); }

Value reverse_filter(Interpreter&, const Value& value, Bound&) {
  if (value.is(Type::kStr)) return Value::string(reverse(value.text()), value.as<Str>().markup);
  if (has_length(value)) return reversed(value);
  if (!iterable(value)) fail(ErrorType::kRuntimeError, "argument must be iterable");
  std::vector<Value> items = items_of(value);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

// Iterates over the pairs of a dict.
class ItemIterator final : public Iterator {
 public:
  explicit ItemIterator(Value value) : value_(std::move(value)) {}
  bool next(Value* item) override {
    if (value_.is(Type::kUndefined)) return false;
    if (!value_.is(Type::kDict)) type_error("Can only get item pairs from a mapping.");
    const auto& items = value_.as<Dict>().items;
    if (at_ >= items.size()) return false;
    *item = Value::tuple({items[at_].first, items[at_].second});
    ++at_;
    return true;
  }

 private:
  Value value_;
  size_t at_ = 0;
};

Value items(Interpreter&, const Value& value, Bound&) {
  return make_iterator(new ItemIterator(value), {&value});
}

Value dict_sort(Interpreter&, const Value& value, Bound& arguments) {
  size_t place = 0;
  if (!arguments[1].missing()) {
    const std::string by = arguments[1].is(Type::kStr) ? arguments[1].text().bytes : "";
    if (by != "key" && by != "value")
      fail(ErrorType::kRuntimeError, "You can only sort by either \"key\" or \"value\"");
    place = by == "key" ? 0 : 1;
  }
  require_defined(value);
  if (!value.is(Type::kDict))
    type_error("dictsort: '" + type_name(value) + "' object has no attribute 'items'");
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.as<Dict>().items) {
    const Value& by = place == 0 ? key : item;
    keyed.push_back({flag(arguments[0]) ? by : ignore_case(by), Value::tuple({key, item})});
  }
  return Value::list(sorted(std::move(keyed), flag(arguments[2])));
}

// Returns the paths in a text such as "name,address.city".
std::vector<AttributePath> paths_of(const Value& attribute) {
  std::vector<AttributePath> paths;
  if (!attribute.is(Type::kStr)) {
    paths.emplace_back(attribute.missing() ? Value::none() : attribute);
    return paths;
  }
  const Text comma{",", {}};
  for (Text& part : split(attribute.text(), &comma, -1)) paths.emplace_back(Value::string(std::move(part)));
  return paths;
}

Value sort(Interpreter&, const Value& value, Bound& arguments) {
  const bool case_sensitive = flag(arguments[1]);
  const std::vector<AttributePath> paths = paths_of(arguments[2]);
  std::vector<Keyed> keyed;
  Each each(value);
  for (Value item; each.next(&item);) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) {
      Value part = path.of(item);
      key.push_back(case_sensitive ? std::move(part) : ignore_case(part));
    }
    keyed.push_back({Value::list(std::move(key)), std::move(item)});
  }
  return Value::list(sorted(std::move(keyed), flag(arguments[0])));
}

class UniqueIterator final : public Iterator {
 public:
  UniqueIterator(const Value& value, const Value& attribute, bool case_sensitive)
      : value_(value), path_(attribute), case_sensitive_(case_sensitive), seen_(make_dict({})) {}
  bool next(Value* item) override {
    if (iterator_.missing()) iterator_ = iterator_of(value_);
    while (Meter::step(), iterator_.as<Iterator>().next(item)) {
      Value key = path_.of(*item);
      if (!case_sensitive_) key = ignore_case(key);
      Meter::step(4);
      if (seen_.as<Dict>().find(key) != nullptr) continue;
      seen_.as<Dict>().set(std::move(key), Value::none());
      return true;
    }
    return false;
  }

 private:
  Value value_;
  AttributePath path_;
  bool case_sensitive_;
  Value seen_, iterator_;
};

Value unique(Interpreter&, const Value& value, Bound& arguments) {
  return make_iterator(
      new UniqueIterator(value, given(arguments[1]) ? arguments[1] : Value::none(), flag(arguments[0])),
      {&value});
}

template <CompareOp op>
Value extreme(Interpreter&, const Value& value, Bound& arguments) {
  const AttributePath path(given(arguments[1]) ? arguments[1] : Value::none());
  Value best, best_key;
  Each each(value);
  for (Value item; each.next(&item);) {
    Value key = path.of(item);
    if (!flag(arguments[0])) key = ignore_case(key);
    if (!best.missing() && !ordered(op, key, best_key)) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best.missing() ? Value::undefined("No aggregated item, sequence was empty.") : best;
}

Value sum(Interpreter&, const Value& value, Bound& arguments) {
  const AttributePath path(given(arguments[0]) ? arguments[0] : Value::none());
  Value total = arguments[1].missing() ? Value::integer(0) : arguments[1];
  if (total.is(Type::kStr)) type_error("sum() can't sum strings [use ''.join(seq) instead]");
  Each each(value);
  for (Value item; each.next(&item);) total = add(total, path.of(item));
  return total;
}

// Iterates over lists of `count` items each.
class BatchIterator final : public Iterator {
 public:
  BatchIterator(const Value& value, Value count, Value fill)
      : value_(value), count_(std::move(count)), fill_(std::move(fill)) {}
  bool next(Value* item) override {
    if (iterator_.missing()) iterator_ = iterator_of(value_);
    std::vector<Value> batch;
    if (!held_.missing()) batch.push_back(std::move(held_));
    held_ = Value();
    Value other;
    while (Meter::step(), iterator_.as<Iterator>().next(&other)) {
      if (equal(Value::integer(static_cast<int64_t>(batch.size())), count_)) {
        held_ = std::move(other);
        *item = Value::list(std::move(batch));
        return true;
      }
      batch.push_back(std::move(other));
    }
    if (batch.empty()) return false;
    const Value size = Value::integer(static_cast<int64_t>(batch.size()));
    if (given(fill_) && ordered(CompareOp::kLess, size, count_)) {
      Value more = multiply(Value::list({fill_}), binary(ExprKind::kSubtract, count_, size));
      batch.insert(batch.end(), more.items().begin(), more.items().end());
    }
    *item = Value::list(std::move(batch));
    return true;
  }

 private:
  Value value_, count_, fill_, iterator_, held_;
};

Value batch(Interpreter&, const Value& value, Bound& arguments) {
  return make_iterator(new BatchIterator(value, arguments[0], arguments[1]), {&value, &arguments[1]});
}

// Iterates over `count` lists of nearly equal lengths that together have all items.
class SliceIterator final : public Iterator {
 public:
  SliceIterator(Value value, Value count, Value fill)
      : value_(std::move(value)), count_(std::move(count)), fill_(std::move(fill)) {}
  bool next(Value* item) override {
    if (items_.missing()) {
      items_ = Value::list(items_of(value_));
      const int64_t size = length_of(items_), n = index_of(count_, "slice()");
      if (n == 0) fail(ErrorType::kArithmeticError, "integer division or modulo by zero");
      each_ = floor_divide(Value::integer(size), Value::integer(n)).as_int();
      with_extra_ = modulo(Value::integer(size), Value::integer(n)).as_int();
    }
    if (at_ >= count_.as_int()) return false;
    const int64_t size = each_ + (at_ < with_extra_ ? 1 : 0);
    const auto begin = items_.items().begin() + begin_;
    std::vector<Value> part(begin, begin + size);
    begin_ += size;
    if (given(fill_) && at_ >= with_extra_) part.push_back(fill_);
    ++at_;
    *item = Value::list(std::move(part));
    return true;
  }

 private:
  Value value_, count_, fill_, items_;
  int64_t each_ = 0, with_extra_ = 0, at_ = 0, begin_ = 0;
};

Value slice(Interpreter&, const Value& value, Bound& arguments) {
  return make_iterator(new SliceIterator(value, arguments[0], arguments[1]), {&value, &arguments[1]});
}

constexpr FilterEntry kSequenceFilters[] = {
    {"default", "default_value= boolean=", default_filter},
    {"d", "default_value= boolean=", default_filter},
    {"length", "", length_filter},
    {"count", "", length_filter},
    {"first", "", first},
    {"last", "", last},
    {"list", "", list_filter},
    {"reverse", "", reverse_filter},
    {"items", "", items},
    {"dictsort", "case_sensitive= by= reverse=", dict_sort},
    {"sort", "reverse= case_sensitive= attribute=", sort},
    {"unique", "case_sensitive= attribute=", unique},
    {"min", "case_sensitive= attribute=", extreme<CompareOp::kLess>},
    {"max", "case_sensitive= attribute=", extreme<CompareOp::kGreater>},
    {"sum", "attribute= start=", sum},
    {"batch", "linecount fill_with=", batch},
    {"slice", "slices fill_with=", slice},
};

}  // namespace

FilterList sequence_filters() { return {kSequenceFilters, std::size(kSequenceFilters)}; }

}  // namespace seer::jinja
