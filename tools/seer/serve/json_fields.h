// Reads the fields of a request's JSON. Every refusal is an ApiError (400) that names the field, what was
// expected and what was found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace seer::serve {

using Json = nlohmann::json;

// A body that must be one JSON object, nested at most 64 deep.
Json parse_body(std::string_view body);

// "a string", "the number 1.5", "null", ...
std::string describe(const Json& value);

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
  std::string name(const char* field) const { return path_ + field; }

  struct Unsupported {
    const char* name;
    std::vector<Json> neutral;  // values, beside null, that ask for nothing
  };
  // Refuses fields that are in none of the lists, and those of `unsupported` that ask for something.
  void check_known(const std::vector<const char*>& supported, const std::vector<const char*>& ignored,
                   const std::vector<Unsupported>& unsupported) const;

 private:
  const Json& object_;
  std::string path_;
};

}  // namespace seer::serve
