// Reading JSON of untrusted origin: strictly, in time and memory that grow with the text's length and no
// faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/json.h"

namespace seer {

struct JsonLimits {
  size_t max_depth = 64;          // how deep arrays and objects may nest
  size_t max_members = SIZE_MAX;  // of one object
  // The limit of all values in a text: of members of objects, elements of arrays, and objects and arrays
  // themselves. The two bytes "[]" become a value of some 50 bytes, so a limit on the text's length alone
  // does not bound the memory well.
  size_t max_values = SIZE_MAX;
  // Integers beyond 64 bits become the double next to them, as the files of many tokenizers need it
  // ("model_max_length": 1000000000000000019884624838656). Otherwise they are refused, and those beyond
  // INT64_MAX too.
  bool rounds_wide_integers = false;
  std::function<void()> check = {};  // if there is one, called every few thousand values; may throw to stop
};

class JsonError : public std::runtime_error {
 public:
  enum class Kind {
    kSyntax,
    kNotFinite,  // NaN or Infinity, which Python writes although JSON has no such numbers
    kTwice,      // a key that its object has already
    kDepth,
    kMembers,
    kValues,
    kWideInteger,
  };
  // `key` is the key whose value holds what is refused; empty if there is none.
  JsonError(Kind kind, const std::string& message, std::string key)
      : std::runtime_error(message), kind_(kind), key_(std::move(key)) {}
  Kind kind() const noexcept { return kind_; }
  const std::string& key() const noexcept { return key_; }

 private:
  Kind kind_;
  std::string key_;
};

// Returns the value that the text has. Throws JsonError, whose message says line and column and quotes a few
// bytes of the text at most; and whatever `limits.check` throws.
Json read_json(std::string_view text, const JsonLimits& limits = {});
// Does the same, and keeps members in the order of the text.
OrderedJson read_ordered_json(std::string_view text, const JsonLimits& limits = {});

// Hands over the members of the text's object one by one instead of keeping them: a header of a million
// tensors needs little more memory than its keys. The limit on values counts for each member. A key that is
// there twice is refused when the object ends, so `member` may have been given both. Throws also what
// `member` throws.
using JsonMember = std::function<void(const std::string& key, const Json& value)>;
void read_json_members(std::string_view text, const JsonLimits& limits, const JsonMember& member);

// Returns the beginning of a value's JSON in ASCII, 60 bytes at most, to be shown in a message. A large value
// is not written out for it.
std::string json_excerpt(const Json& value);

}  // namespace seer
