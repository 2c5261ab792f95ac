// The one kind of JSON value that the program holds: nlohmann's, with our own release of memory and our own
// comparison with text.
//
// nlohmann's destructor moves all values inside the one that it destroys into a list, for which it allocates.
// It is noexcept, so if there is no memory the program ends: for a server that means that one large request
// ends all others. These types release what they hold without allocating, and without recursion, however deep
// it is. Only what is written here differs; everything else is as nlohmann documents it for json and
// ordered_json.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

static_assert(NLOHMANN_JSON_VERSION_MAJOR == 3 && NLOHMANN_JSON_VERSION_MINOR >= 11,
              "expected nlohmann-json 3.11 or later: engine/base/json.h replaces a function of it, "
              "json_value::destroy, that other major versions may not have");

namespace seer {

// A namespace of its own, so that the operators below are found for these types and no others.
namespace json_types {

// Does the same as nlohmann's own serializer. Because it is a type of ours, the types below are different
// ones from nlohmann's, so no code can have been compiled with their destructors before these are replaced.
template <typename Value, typename Enable = void>
struct JsonSerializer : nlohmann::adl_serializer<Value, Enable> {};

using Json = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t, std::uint64_t,
                                  double, std::allocator, JsonSerializer>;
// Its objects keep their members in the order in which they were added.
using OrderedJson = nlohmann::basic_json<nlohmann::ordered_map, std::vector, std::string, bool, std::int64_t,
                                         std::uint64_t, double, std::allocator, JsonSerializer>;

// nlohmann's own comparison with a text makes a value of the text first, and is noexcept too.
inline bool operator==(const Json& value, const char* text) noexcept {
  return value.is_string() && *value.get_ptr<const std::string*>() == text;
}
inline bool operator==(const OrderedJson& value, const char* text) noexcept {
  return value.is_string() && *value.get_ptr<const std::string*>() == text;
}
inline bool operator!=(const Json& value, const char* text) noexcept { return !(value == text); }
inline bool operator!=(const OrderedJson& value, const char* text) noexcept { return !(value == text); }

template <class Value>
Value& first_of(Value& container) noexcept {
  return container.is_array() ? container.template get_ref<typename Value::array_t&>().front()
                              : container.template get_ref<typename Value::object_t&>().begin()->second;
}

template <class Value>
Value taken_last(Value& container) noexcept {
  if (container.is_array()) {
    auto& array = container.template get_ref<typename Value::array_t&>();
    Value last = std::move(array.back());
    array.pop_back();
    return last;
  }
  auto& object = container.template get_ref<typename Value::object_t&>();
  const auto at = std::prev(object.end());
  Value last = std::move(at->second);
  if constexpr (std::is_same_v<Value, Json>) {
    object.erase(at);
  } else {
    object.pop_back();
  }
  return last;
}

// Returns false also for a container that could not be made: if there is no memory for it, nlohmann's
// operator[] and push_back leave a value that has the type of a container but holds none.
template <class Value>
bool has_elements(const Value& value) noexcept {
  if (const auto* array = value.template get_ptr<const typename Value::array_t*>()) return !array->empty();
  const auto* object = value.template get_ptr<const typename Value::object_t*>();
  return object != nullptr && !object->empty();
}

// Makes `value` null. While the elements of a container are released, the place of its first element holds
// the container's parent, so the way back up needs no memory.
template <class Value>
void release(Value& value) noexcept {
  Value node = std::move(value), open;
  for (;;) {
    if (has_elements(node)) {
      Value first = std::exchange(first_of(node), std::move(open));
      open = std::move(node);
      node = std::move(first);
    } else if (open.is_null()) {
      return;
    } else if (open.size() > 1) {
      node = taken_last(open);
    } else {
      node = nullptr;
      open = taken_last(open);
    }
  }
}

template <class Container>
void release_all(Container* container) noexcept {
  if (container == nullptr) return;  // there was no memory to make it
  if constexpr (std::is_same_v<Container, Json::array_t> || std::is_same_v<Container, OrderedJson::array_t>) {
    for (auto& element : *container) release(element);
  } else {
    for (auto& [key, element] : *container) release(element);
  }
  delete container;
}

}  // namespace json_types

using json_types::Json;
using json_types::OrderedJson;

}  // namespace seer

// A private member may be named here: [temp.spec] exempts explicit specializations from checks of access.
template <>
inline void seer::Json::json_value::destroy(value_t type) {
  if (type == value_t::array) seer::json_types::release_all(array);
  if (type == value_t::object) seer::json_types::release_all(object);
  if (type == value_t::string) delete string;
  if (type == value_t::binary) delete binary;
}
template <>
inline void seer::OrderedJson::json_value::destroy(value_t type) {
  if (type == value_t::array) seer::json_types::release_all(array);
  if (type == value_t::object) seer::json_types::release_all(object);
  if (type == value_t::string) delete string;
  if (type == value_t::binary) delete binary;
}
