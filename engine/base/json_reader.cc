#include "engine/base/json_reader.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace seer {
namespace {

constexpr size_t kValuesPerCheck = 4096;
constexpr size_t kMaxExcerpt = 60;
constexpr size_t kMaxNear = 20;  // bytes of the text that a syntax error shows

using Kind = JsonError::Kind;

std::string shortened(std::string text) {
  if (text.size() > kMaxExcerpt) text = text.substr(0, kMaxExcerpt - 3) + "...";
  return text;
}

// Returns the text in quotes, with escapes for everything but printable ASCII.
std::string in_quotes(std::string_view text) {
  const Json value = std::string(text.substr(0, kMaxExcerpt));
  return shortened(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

// Gives the parser the bytes of the text. All copies share one position, so that the receiver of an event
// knows its position.
class SharedPosition {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  explicit SharedPosition(const char** at) : at_(at) {}
  const char& operator*() const { return **at_; }
  SharedPosition& operator++() {
    ++*at_;
    return *this;
  }
  SharedPosition operator++(int) { return ++*this; }
  bool operator==(const SharedPosition& other) const { return *at_ == *other.at_; }
  bool operator!=(const SharedPosition& other) const { return *at_ != *other.at_; }

 private:
  const char** at_;
};

// Receives the parser's events and builds the value. The elements of all open containers lie on one stack,
// and are moved into a container when it ends. Then their number is known, and none is copied. If nlohmann's
// ordered object grew instead, it would copy all members with everything below them, because their keys are
// constants, which cannot be moved.
template <class Value>
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Builder(std::string_view text, const JsonLimits& limits, const JsonMember* member = nullptr)
      : text_(text), at_(text.data()), end_(text.data() + text.size()), limits_(limits), member_(member) {}

  Value build() {
    Json::sax_parse(SharedPosition(&at_), SharedPosition(&end_), this);
    // The parser takes a NUL byte for the end of the text.
    if (const size_t zero = text_.find('\0'); zero != text_.npos)
      fail_at(zero + 1, Kind::kSyntax, "found a byte of zero");
    return values_.empty() ? Value() : std::move(values_.back());
  }

  // The parser's events.
  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(number_integer_t value) { return scalar(value); }
  bool number_unsigned(number_unsigned_t value) {
    if (value > uint64_t{INT64_MAX} && !limits_.rounds_wide_integers) refuse_integer(std::to_string(value));
    return scalar(value);
  }
  bool number_float(number_float_t value, const string_t& digits) {
    if (!limits_.rounds_wide_integers && digits.find_first_of(".eE") == digits.npos) refuse_integer(digits);
    return scalar(value);
  }
  // The string is copied: the copy is only as large as it must be, and the parser keeps its buffer.
  bool string(string_t& value) { return scalar(std::as_const(value)); }
  bool binary(binary_t&) { return false; }  // JSON has no binary values
  bool key(string_t& name) {
    if (keys_.size() - frames_.back().first_key == limits_.max_members)
      fail(Kind::kMembers,
           "expected objects of at most " + std::to_string(limits_.max_members) + " members, found more");
    keys_.push_back({name, consumed()});
    return true;
  }
  bool start_object(size_t) { return start(true); }
  bool start_array(size_t) { return start(false); }
  bool end_object() {
    Value value = taken_object();
    return ended(std::move(value));
  }
  bool end_array() {
    typename Value::array_t array(std::make_move_iterator(first_value()),
                                  std::make_move_iterator(values_.end()));
    return ended(Value(std::move(array)));
  }
  bool parse_error(size_t, const std::string&, const Json::exception& error) {
    refuse_syntax(error);
    return false;
  }

 private:
  struct Key {
    std::string name;
    size_t end;  // position in the text
  };
  struct Frame {
    bool is_object;
    size_t first_value, first_key;
  };

  size_t consumed() const { return static_cast<size_t>(at_ - text_.data()); }
  auto first_value() { return values_.begin() + static_cast<std::ptrdiff_t>(frames_.back().first_value); }

  // Throws. `end` is the position after the last byte of the refused part.
  [[noreturn]] void fail_at(size_t end, Kind kind, const std::string& reason) const {
    const std::string_view before = text_.substr(0, end);
    const size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
    const size_t newline = before.rfind('\n');
    const size_t column = newline == before.npos ? end : end - newline - 1;
    const std::string place =
        "line " + std::to_string(line) + ", column " + std::to_string(std::max<size_t>(column, 1));
    throw JsonError(kind, place + ": " + reason, keys_.empty() ? "" : keys_.back().name);
  }
  [[noreturn]] void fail(Kind kind, const std::string& reason) const { fail_at(consumed(), kind, reason); }
  std::string below_key() const {
    return keys_.empty() ? "" : "the key " + in_quotes(keys_.back().name) + " to have ";
  }
  [[noreturn]] void refuse_integer(const std::string& digits) const {
    fail(Kind::kWideInteger,
         "expected " + below_key() + "integers of at most 64 bits, found " + shortened(digits));
  }

  [[noreturn]] void refuse_syntax(const Json::exception& error) const {
    const size_t end = consumed();
    const std::string_view from = text_.substr(end == 0 ? 0 : end - 1);
    for (const std::string_view name : {"NaN", "Infinity"})
      if (from.starts_with(name)) {
        const bool negative = end > 1 && text_[end - 2] == '-';
        fail(Kind::kNotFinite, "expected " + below_key() + "finite numbers, found " + (negative ? "-" : "") +
                                   std::string(name));
      }
    constexpr int kOverflow = 406;
    if (error.id == kOverflow)
      fail(Kind::kNotFinite, "expected " + below_key() + "finite numbers, found one too large for a double");
    // The message is "[json.exception.parse_error.101] parse error at line 1, column 2: REASON; last read:
    // 'TOKEN'", and TOKEN may be as long as the text.
    std::string reason = error.what();
    if (const size_t last = reason.find("; last read: '"); last != reason.npos) {
      const size_t rest = reason.rfind("'; expected ");
      reason = reason.substr(0, last) + (rest == reason.npos ? "" : reason.substr(rest + 1));
    }
    if (const size_t place = reason.find(": "); place != reason.npos) reason.erase(0, place + 2);
    const size_t near = end - std::min(end, kMaxNear);
    fail(Kind::kSyntax, reason + (end == near ? "" : ", near " + in_quotes(text_.substr(near, end - near))));
  }

  void count() {
    if (++n_values_ > limits_.max_values)
      fail(Kind::kValues, "expected at most " + std::to_string(limits_.max_values) +
                              " values (members, elements, and what holds them), found more");
    if (limits_.check && n_values_ % kValuesPerCheck == 0) limits_.check();
  }

  bool scalar(Value value) {
    if (member_ != nullptr && frames_.empty()) fail(Kind::kSyntax, "expected a JSON object");
    count();
    return add(std::move(value));
  }

  bool start(bool is_object) {
    if (member_ != nullptr && frames_.empty() && !is_object) fail(Kind::kSyntax, "expected a JSON object");
    count();
    if (frames_.size() == limits_.max_depth)
      fail(Kind::kDepth, "nested more than " + std::to_string(limits_.max_depth) + " deep");
    frames_.push_back({is_object, values_.size(), keys_.size()});
    return true;
  }

  bool add(Value value) {
    if (member_ != nullptr && frames_.size() == 1) {
      if constexpr (std::is_same_v<Value, Json>) (*member_)(keys_.back().name, value);
      n_values_ = 0;
    } else {
      values_.push_back(std::move(value));
    }
    return true;
  }

  bool ended(Value value) {
    values_.erase(first_value(), values_.end());
    keys_.resize(frames_.back().first_key);
    frames_.pop_back();
    return add(std::move(value));
  }

  // Sorts the keys of the object that ends, and refuses a key that occurs twice. Sorting has no worst case
  // that a sender could choose, unlike a hash table.
  void sort_keys() {
    order_.clear();
    for (size_t i = frames_.back().first_key; i < keys_.size(); ++i) order_.push_back(i);
    std::sort(order_.begin(), order_.end(), [&](size_t a, size_t b) {
      const int order = keys_[a].name.compare(keys_[b].name);
      return order != 0 ? order < 0 : a < b;
    });
    const auto twice = std::adjacent_find(order_.begin(), order_.end(),
                                          [&](size_t a, size_t b) { return keys_[a].name == keys_[b].name; });
    if (twice != order_.end())
      fail_at(keys_[twice[1]].end, Kind::kTwice,
              "the key " + in_quotes(keys_[*twice].name) + " is there twice");
  }

  Value taken_object() {
    sort_keys();
    const Frame& frame = frames_.back();
    typename Value::object_t object;
    if (first_value() == values_.end()) return Value(std::move(object));
    const auto value = [&](size_t key) -> Value&& {
      return std::move(values_[frame.first_value + key - frame.first_key]);
    };
    if constexpr (std::is_same_v<Value, Json>) {
      for (const size_t i : order_) object.emplace_hint(object.end(), std::move(keys_[i].name), value(i));
    } else {
      object.reserve(order_.size());
      for (size_t i = frame.first_key; i < keys_.size(); ++i)
        object.emplace_back(std::move(keys_[i].name), value(i));
    }
    return Value(std::move(object));
  }

  std::string_view text_;
  const char *at_, *end_;
  const JsonLimits& limits_;
  const JsonMember* member_;
  size_t n_values_ = 0;
  std::vector<Frame> frames_;
  std::vector<Value> values_;  // of the open containers, beginning with the outermost one's
  std::vector<Key> keys_;
  std::vector<size_t> order_;
};

// Writes `value` until the excerpt is long enough.
void append_excerpt(const Json& value, std::string* out) {
  if (value.is_string()) {
    *out += in_quotes(value.get_ref<const std::string&>());
  } else if (value.is_structured()) {
    *out += value.is_array() ? '[' : '{';
    for (auto at = value.begin(); at != value.end() && out->size() <= kMaxExcerpt; ++at) {
      if (at != value.begin()) *out += ',';
      if (value.is_object()) *out += in_quotes(at.key()) + ":";
      append_excerpt(*at, out);
    }
    *out += value.is_array() ? ']' : '}';
  } else {
    *out += value.dump();
  }
}

}  // namespace

Json read_json(std::string_view text, const JsonLimits& limits) {
  return Builder<Json>(text, limits).build();
}

OrderedJson read_ordered_json(std::string_view text, const JsonLimits& limits) {
  return Builder<OrderedJson>(text, limits).build();
}

void read_json_members(std::string_view text, const JsonLimits& limits, const JsonMember& member) {
  Builder<Json>(text, limits, &member).build();
}

std::string json_excerpt(const Json& value) {
  std::string text;
  append_excerpt(value, &text);
  return shortened(std::move(text));
}

}  // namespace seer
