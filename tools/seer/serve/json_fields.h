// Reads the fields of a request's JSON. Every refusal is an ApiError (400) that names the field, what was
// expected and what was found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/json_reader.h"

namespace seer::serve {

// Members keep the order that a client gave them: templates show tools to the model in that order.
using Json = OrderedJson;

// The limit of values in one body, which counts members, elements, and the arrays and objects that hold them.
// It has room for the token ids of the largest contexts, in memory that is a small multiple of the largest
// body.
inline constexpr size_t kMaxValues = 3'000'000;

// The number of values that a request may have in all, and how many of them are still left.
struct ValueLimit {
  explicit ValueLimit(size_t in_all) : all(in_all), left(in_all) {}
  size_t all, left;
};

// Parses JSON. Throws ApiError (400) naming `what` for nesting deeper than 64 levels, for more values than
// are left, and for more than 1024 members in an object, which would take too long to look up one by one.
// Throws JsonError for text that is not JSON, has a key twice or a number that is too large.
Json parse_json(std::string_view text, const std::string& what, const ValueLimit& values);

// The limit of values in a body without token ids. It is lower because messages become several texts on their
// way to a prompt, each with copies of all values.
inline constexpr size_t kMaxChatValues = 300'000;

// Parses a body that must be one JSON object.
Json parse_body(std::string_view body, size_t max_values = kMaxValues);

// Returns "a string", "the number 1.5", "null", ...
std::string describe(const Json& value);

[[noreturn]] void refuse(const std::string& field, const std::string& message, const std::string& code);
[[noreturn]] void wrong_type(const std::string& field, const std::string& expected, const Json& found);

// The range of a number in the API.
struct Range {
  double low, high;
};

// The fields of one object. A field that is null counts as absent.
class JsonFields {
 public:
  // `object` must outlive this. `path` precedes a field's name in messages, for example "messages[2].".
  explicit JsonFields(const Json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  const Json* find(const char* name) const;  // null if it is not given
  std::optional<std::string> string(const char* name) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high = INT64_MAX) const;
  std::optional<double> number(const char* name, Range range) const;
  std::optional<std::vector<int32_t>> ids(const char* name) const;  // an array of token ids
  std::string name(const char* field) const { return path_ + field; }

  struct Unsupported {
    const char* name;
    std::vector<Json> neutral;  // further values that ask for nothing
  };
  // Refuses fields that are in none of the lists, and those of `unsupported` that ask for something. A field
  // that is null, false or empty asks for nothing, whatever its name.
  void check_known(const std::vector<const char*>& supported, const std::vector<const char*>& ignored,
                   const std::vector<Unsupported>& unsupported) const;

 private:
  const Json& object_;
  std::string path_;
};

}  // namespace seer::serve
