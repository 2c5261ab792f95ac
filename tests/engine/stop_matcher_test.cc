#include "engine/src/stop_matcher.h"

#include "seer/error.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

TEST_CASE("text that begins no stop string passes at once") {
  StopMatcher matcher({"END"});
  CHECK(matcher.push("hello ") == "hello ");
  CHECK(matcher.push("world") == "world");
  CHECK_FALSE(matcher.matched());
}

TEST_CASE("the beginning of a stop string is held back until it is decided") {
  StopMatcher matcher({"END"});
  CHECK(matcher.push("the E") == "the ");
  CHECK(matcher.push("N") == "");
  CHECK(matcher.push("O") == "ENO");
  CHECK(matcher.push("EN") == "");
  CHECK(matcher.push("D and more") == "");
  CHECK(matcher.matched());
  CHECK(matcher.match() == "END");
  CHECK(matcher.push("later") == "");
}

TEST_CASE("a stop string across three pieces is found and what precedes it is kept") {
  StopMatcher matcher({"\n\nQ:"});
  CHECK(matcher.push("A\n") == "A");
  CHECK(matcher.push("\n") == "");
  CHECK(matcher.push("Q:") == "");
  CHECK(matcher.matched());
}

TEST_CASE("what was held back comes out when the text ends") {
  StopMatcher matcher({"END"});
  CHECK(matcher.push("the EN") == "the ");
  CHECK(matcher.finish() == "EN");
  CHECK(matcher.finish() == "");
}

TEST_CASE("a stop string that overlaps itself is not missed") {
  StopMatcher matcher({"aab"});
  CHECK(matcher.push("aa") == "");
  CHECK(matcher.push("a") == "a");
  CHECK(matcher.push("b") == "");
  CHECK(matcher.matched());
}

TEST_CASE("the earliest of several stop strings wins") {
  StopMatcher matcher({"two", "one"});
  CHECK(matcher.push("zero one two") == "zero ");
  CHECK(matcher.match() == "one");
}

TEST_CASE("an empty stop string is refused") { CHECK_THROWS_AS(StopMatcher({"a", ""}), Error); }

}  // namespace
}  // namespace seer
