#include "tools/seer/serve/json_fields.h"

#include <algorithm>
#include <cmath>

#include "tools/seer/format.h"
#include "tools/seer/option_hints.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr size_t kMaxDepth = 64;  // the API's own objects need six levels, and schemas of tools some more
constexpr size_t kMaxMembers = 1024;
constexpr size_t kMaxQuoted = 40;  // bytes of a value shown in a message
constexpr const char* kWrongType = "invalid_type";

std::string number_text(double value) { return cli::format("%g", value); }

bool asks_for_nothing(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

std::string range_text(Range range) {
  return "from " + number_text(range.low) + " to " + number_text(range.high);
}

}  // namespace

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return "the number " + value.dump();
    case Json::value_t::string: {
      const std::string& text = value.get_ref<const std::string&>();
      return text.size() <= kMaxQuoted ? "the string '" + text + "'" : "a string";
    }
    case Json::value_t::array:
      return value.empty() ? "an empty array" : "an array";
    case Json::value_t::object:
      return "an object";
    default:
      return "something else";
  }
}

void refuse(const std::string& field, const std::string& message, const std::string& code) {
  throw ApiError(kBadRequest, "'" + field + "': " + message, field, code);
}

void wrong_type(const std::string& field, const std::string& expected, const Json& found) {
  throw ApiError(kBadRequest, "'" + field + "': expected " + expected + ", found " + describe(found), field,
                 kWrongType);
}

Json parse_json(std::string_view text, const std::string& what, const ValueLimit& values) {
  JsonLimits limits;
  limits.max_depth = kMaxDepth;
  limits.max_members = kMaxMembers;
  limits.max_values = values.left;
  try {
    return read_ordered_json(text, limits);
  } catch (const JsonError& error) {
    const auto refused = [&](const std::string& reason, const char* code) {
      return ApiError(kBadRequest, what + reason, "", code);
    };
    switch (error.kind()) {
      case JsonError::Kind::kDepth:
        throw refused(" nests deeper than " + std::to_string(kMaxDepth) + " levels", "too_deep");
      case JsonError::Kind::kMembers:
        throw refused(" has an object of more than " + std::to_string(kMaxMembers) + " members",
                      "too_many_members");
      case JsonError::Kind::kValues:
        throw refused(" brings the request to more than " + std::to_string(values.all) + " values",
                      "too_many_values");
      case JsonError::Kind::kWideInteger:
        throw ApiError(kBadRequest, what + ": " + error.what(), error.key(), "invalid_value");
      default:
        throw;
    }
  }
}

Json parse_body(std::string_view body, size_t max_values) {
  if (body.empty()) throw ApiError(kBadRequest, "the body is empty: expected a JSON object");
  Json parsed;
  try {
    parsed = parse_json(body, "the body", ValueLimit(max_values));
  } catch (const JsonError& error) {
    throw ApiError(kBadRequest, std::string("the body is not valid JSON: ") + error.what(), "",
                   "invalid_json");
  }
  if (!parsed.is_object())
    throw ApiError(kBadRequest, "the body: expected a JSON object, found " + describe(parsed), "",
                   kWrongType);
  return parsed;
}

const Json* JsonFields::find(const char* name) const {
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

std::optional<std::string> JsonFields::string(const char* field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(name(field), "a string", *value);
  return value->get<std::string>();
}

std::optional<bool> JsonFields::boolean(const char* field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(name(field), "true or false", *value);
  return value->get<bool>();
}

std::optional<int64_t> JsonFields::integer(const char* field, int64_t low, int64_t high) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  std::string expected = "a whole number";
  if (high != INT64_MAX) {
    expected += " from " + std::to_string(low) + " to " + std::to_string(high);
  } else if (low != INT64_MIN) {
    expected += " of at least " + std::to_string(low);
  }
  if (!value->is_number_integer()) wrong_type(name(field), expected, *value);
  // Without this check, get() would wrap around above INT64_MAX.
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  if (too_large || value->get<int64_t>() < low || value->get<int64_t>() > high)
    throw ApiError(kBadRequest, "'" + name(field) + "': expected " + expected + ", found " + value->dump(),
                   name(field), "invalid_value");
  return value->get<int64_t>();
}

std::optional<std::vector<int32_t>> JsonFields::ids(const char* field) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) wrong_type(name(field), "an array of token ids", *value);
  std::vector<int32_t> ids;
  ids.reserve(value->size());
  for (const Json& id : *value) {
    // Ids beyond the vocabulary are refused later, when the vocabulary is known.
    const bool fits = id.is_number_unsigned() && id.get<uint64_t>() <= uint64_t{INT32_MAX};
    if (!fits) wrong_type(name(field) + "[" + std::to_string(ids.size()) + "]", "a token id", id);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::optional<double> JsonFields::number(const char* field, Range range) const {
  const Json* value = find(field);
  if (value == nullptr) return std::nullopt;
  const std::string expected = "a number " + range_text(range);
  if (!value->is_number()) wrong_type(name(field), expected, *value);
  const auto number = value->get<double>();
  if (!(number >= range.low && number <= range.high))
    throw ApiError(kBadRequest, "'" + name(field) + "': expected " + expected + ", found " + value->dump(),
                   name(field), "invalid_value");
  return number;
}

void JsonFields::check_known(const std::vector<const char*>& supported,
                             const std::vector<const char*>& ignored,
                             const std::vector<Unsupported>& unsupported) const {
  const auto listed = [](const std::vector<const char*>& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  for (auto at = object_.begin(); at != object_.end(); ++at) {
    const std::string& field = at.key();
    const Json& value = at.value();
    if (listed(supported, field) || listed(ignored, field) || asks_for_nothing(value)) continue;
    const auto known = std::find_if(unsupported.begin(), unsupported.end(),
                                    [&](const Unsupported& entry) { return field == entry.name; });
    if (known != unsupported.end()) {
      if (std::find(known->neutral.begin(), known->neutral.end(), value) != known->neutral.end()) continue;
      throw ApiError(kBadRequest,
                     "'" + name(known->name) + "' is not supported by this server: leave it out; found " +
                         describe(value),
                     name(known->name), "unsupported_parameter");
    }
    std::vector<std::string> names(supported.begin(), supported.end());
    for (const Unsupported& entry : unsupported) names.emplace_back(entry.name);
    const std::string guess = field.size() > kMaxQuoted ? "" : cli::nearest(field, names);
    const std::string shown =
        path_ + (field.size() > kMaxQuoted ? field.substr(0, kMaxQuoted) + "..." : field);
    throw ApiError(kBadRequest,
                   "unknown field '" + shown + "'" + (guess.empty() ? "" : ": did you mean '" + guess + "'?"),
                   shown, "unknown_parameter");
  }
}

}  // namespace seer::serve
