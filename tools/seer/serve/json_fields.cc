#include "tools/seer/serve/json_fields.h"

#include <algorithm>
#include <cmath>

#include "tools/seer/format.h"
#include "tools/seer/option_hints.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int kMaxDepth = 64;      // the API's own objects need six
constexpr size_t kMaxQuoted = 40;  // bytes of a value shown in a message
constexpr const char* kWrongType = "invalid_type";

std::string number_text(double value) { return cli::format("%g", value); }

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

void wrong_type(const std::string& field, const std::string& expected, const Json& found) {
  throw ApiError(kBadRequest, "'" + field + "': expected " + expected + ", found " + describe(found), field,
                 kWrongType);
}

Json parse_body(std::string_view body) {
  if (body.empty()) throw ApiError(kBadRequest, "the body is empty: expected a JSON object");
  Json parsed;
  try {
    parsed = Json::parse(body, [](int depth, Json::parse_event_t event, Json&) {
      const bool opens =
          event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
      if (opens && depth >= kMaxDepth)
        throw ApiError(kBadRequest, "the body nests deeper than " + std::to_string(kMaxDepth) + " levels", "",
                       "too_deep");
      return true;
    });
  } catch (const Json::exception& error) {
    std::string reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    if (const size_t end = reason.find("] "); end != std::string::npos) reason.erase(0, end + 2);
    throw ApiError(kBadRequest, "the body is not valid JSON: " + reason, "", "invalid_json");
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
  // Above INT64_MAX a get() would wrap around.
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  if (too_large || value->get<int64_t>() < low || value->get<int64_t>() > high)
    throw ApiError(kBadRequest, "'" + name(field) + "': expected " + expected + ", found " + value->dump(),
                   name(field), "invalid_value");
  return value->get<int64_t>();
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
    if (listed(supported, field) || listed(ignored, field)) continue;
    const auto known = std::find_if(unsupported.begin(), unsupported.end(),
                                    [&](const Unsupported& entry) { return field == entry.name; });
    if (known != unsupported.end()) {
      const bool neutral = value.is_null() || std::find(known->neutral.begin(), known->neutral.end(),
                                                        value) != known->neutral.end();
      if (neutral) continue;
      throw ApiError(kBadRequest,
                     "'" + name(known->name) + "' is not supported by this server: leave it out; found " +
                         describe(value),
                     name(known->name), "unsupported_parameter");
    }
    std::vector<std::string> names(supported.begin(), supported.end());
    for (const Unsupported& entry : unsupported) names.emplace_back(entry.name);
    const std::string guess = cli::nearest(field, names);
    throw ApiError(
        kBadRequest,
        "unknown field '" + path_ + field + "'" + (guess.empty() ? "" : ": did you mean '" + guess + "'?"),
        path_ + field, "unknown_parameter");
  }
}

}  // namespace seer::serve
