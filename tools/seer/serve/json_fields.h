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

// A body may have as many values as this in all, members and elements and what holds them: token ids for the
// largest contexts, in memory that is a small multiple of the largest body.
inline constexpr size_t kMaxValues = 3'000'000;

// How many values a request may have in all, and how many more those that were read leave it.
struct ValueLimit {
  explicit ValueLimit(size_t in_all) : all(in_all), left(in_all) {}
  size_t all, left;
};

// Throws ApiError (400) for what nests deeper than 64 levels, has more than 1024 members in an object, which
// would take too long to look up one by one, or more values than are left; `what` names it. JsonError for
// what is no JSON, has a key twice or a number that is too large.
Json parse_json(std::string_view text, const std::string& what, const ValueLimit& values);

// Of a body without token ids: messages become several texts on their way to a prompt, each with copies of
// all values.
inline constexpr size_t kMaxChatValues = 300'000;

// A body that must be one JSON object.
Json parse_body(std::string_view body, size_t max_values = kMaxValues);

// "a string", "the number 1.5", "null", ...
std::string describe(const Json& value);

[[noreturn]] void refuse(const std::string& field, const std::string& message, const std::string& code);
[[noreturn]] void wrong_type(const std::string& field, const std::string& expected, const Json& found);

// A number the API has a range for.
struct Range {
  double low, high;
};

// One object. Absent and null are the same: not given.
class JsonFields {
 public:
  // `object` must outlive this. `path`: what goes before a field's name in messages, "messages[2]." say.
  explicit JsonFields(const Json& object, std::string path = "") : object_(object), path_(std::move(path)) {}

  const Json* find(const char* name) const;  // null where it is not given
  std::optional<std::string> string(const char* name) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<int64_t> integer(const char* name, int64_t low, int64_t high = INT64_MAX) const;
  std::optional<double> number(const char* name, Range range) const;
  std::optional<std::vector<int32_t>> ids(const char* name) const;  // an array of token ids
  std::string name(const char* field) const { return path_ + field; }

  struct Unsupported {
    const char* name;
    std::vector<Json> neutral;  // values that ask for nothing, further ones
  };
  // Refuses fields that are in none of the lists, and those of `unsupported` that ask for something. Whatever
  // its name, one that is null, false or empty asks for nothing.
  void check_known(const std::vector<const char*>& supported, const std::vector<const char*>& ignored,
                   const std::vector<Unsupported>& unsupported) const;

 private:
  const Json& object_;
  std::string path_;
};

}  // namespace seer::serve
