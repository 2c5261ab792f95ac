#include "engine/base/json_file.h"

#include "seer/error.h"

namespace seer {
namespace {

JsonLimits limits_of(size_t max_values) {
  JsonLimits limits;
  limits.max_values = max_values;
  limits.rounds_wide_integers = true;
  return limits;
}

[[noreturn]] void refuse(const std::string& origin, const JsonError& error) {
  using Kind = JsonError::Kind;
  const bool syntax = error.kind() == Kind::kSyntax;
  const bool not_finite = error.kind() == Kind::kNotFinite;
  throw Error(ErrorKind::kFile,
              origin + (syntax ? ": expected JSON: " : ": ") + error.what() +
                  (not_finite ? ", which JSON does not know. Write a number, or remove the key." : ""));
}

}  // namespace

Json parse_json_object(std::string_view text, const std::string& origin, size_t max_values) {
  Json value;
  try {
    value = read_json(text, limits_of(max_values));
  } catch (const JsonError& error) {
    refuse(origin, error);
  }
  if (!value.is_object())
    throw Error(ErrorKind::kFile, origin + ": expected a JSON object, found " + json_excerpt(value));
  return value;
}

void parse_json_members(std::string_view text, const std::string& origin, const JsonMember& member) {
  try {
    read_json_members(text, limits_of(kMaxConfigValues), member);
  } catch (const JsonError& error) {
    refuse(origin, error);
  }
}

}  // namespace seer
