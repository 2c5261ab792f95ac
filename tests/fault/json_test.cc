// JSON values are destroyed without asking for memory, because a destructor could not report a lack of it.
#include "engine/base/json.h"

#include <new>
#include <optional>
#include <string>
#include <utility>

#include "tests/fault/allocations.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::AllocationFault;

// Destroys `value` while no allocation can succeed. Returns whether one was asked for.
template <class Value>
bool asks_for_memory(std::optional<Value> value) {
  const AllocationFault fault(0, testing::Shortage::kLasting);
  value.reset();
  return AllocationFault::struck();
}

template <class Value>
Value nested(size_t depth) {
  Value value = "a text that is longer than a string's own room";
  for (size_t i = 0; i < depth; ++i) {
    Value outer;
    if (i % 2 == 0) {
      outer = {"before", nullptr, "after"};
      std::swap(outer[i % 3], outer[1]);
      outer[i % 3] = std::move(value);
    } else {
      outer = {{"before", {1, {2, Value::array()}}}, {"c", Value::object()}};
      outer[i % 3 == 0 ? "a" : "z"] = std::move(value);
    }
    value = std::move(outer);
  }
  return value;
}

TEMPLATE_TEST_CASE("a value ends without allocating, and leaks nothing, however deep and wide it is", "",
                   Json, OrderedJson) {
  const int64_t n_live = testing::n_live_allocations();
  for (const size_t depth : {0, 1, 2, 3, 64, 100'000})
    CHECK_FALSE(asks_for_memory<TestType>(nested<TestType>(depth)));
  TestType wide = TestType::array();
  for (int i = 0; i < 100'000; ++i) wide.push_back({{"key", {i, "text"}}});
  TestType copy = wide;
  CHECK(copy == wide);
  CHECK_FALSE(asks_for_memory<TestType>(std::move(wide)));
  CHECK_FALSE(asks_for_memory<TestType>(std::move(copy)));
  CHECK_FALSE(asks_for_memory<TestType>(TestType::binary({1, 2, 3})));
  CHECK(testing::n_live_allocations() == n_live);
}

// nlohmann's own assertions fail for the values that it leaves after a lack of memory.
#if defined(NDEBUG)
TEMPLATE_TEST_CASE("a value that is incomplete because memory ran out is destroyed without a leak", "", Json,
                   OrderedJson) {
  for (int64_t i = 0;; ++i) {
    const int64_t n_live = testing::n_live_allocations();
    std::optional<TestType> value(std::in_place);
    std::optional<AllocationFault> fault(std::in_place, i, testing::Shortage::kOnce);
    try {
      (*value)["a"]["b"]["c"] = 1;
      (*value)["a"]["d"].push_back(2);
      // Braces are not used for lists: if memory runs out in one, nlohmann 3.11.2 leaks the part of an object
      // that it has made.
      (*value)["e"]["f"].push_back("a text that is longer than a string's own room");
      (*value)["h"].emplace_back().push_back(TestType::object());
      (*value)["i"] = (*value)["a"];
    } catch (const std::bad_alloc&) {
    }
    const bool struck = AllocationFault::struck();
    value.reset();
    fault.reset();
    const int64_t n_left = testing::n_live_allocations() - n_live;
    INFO("allocation " << i);
    CHECK(n_left == 0);
    if (!struck) {
      CHECK(i > 16);
      break;
    }
  }
}
#endif

TEMPLATE_TEST_CASE("a value is compared with a text without allocating", "", Json, OrderedJson) {
  constexpr const char* kText = "a text that is longer than a string's own room";
  const TestType text = kText, number = 1;
  bool right = false;
  {
    const AllocationFault fault(0, testing::Shortage::kLasting);
    right = text == kText && !(text != kText) && text != "a" && !(text == "a") && number != kText &&
            kText == text && kText != number;
  }
  CHECK(right);
  CHECK_FALSE(AllocationFault::struck());
}

}  // namespace
}  // namespace seer
