#include "engine/base/json_reader.h"

#include "tests/support/catch.h"

namespace seer {
namespace {

using Kind = JsonError::Kind;

// Returns the message for a text that both readers refuse for a reason of this kind.
std::string refused(Kind kind, const std::string& text, const JsonLimits& limits = {}) {
  const auto message = [&](const auto& read) -> std::string {
    try {
      read();
    } catch (const JsonError& e) {
      INFO(e.what());
      CHECK(static_cast<int>(e.kind()) == static_cast<int>(kind));
      return e.what();
    }
    FAIL_CHECK("accepted: " << text.substr(0, 100));
    return {};
  };
  const std::string plain = message([&] { read_json(text, limits); });
  CHECK(message([&] { read_ordered_json(text, limits); }) == plain);
  return plain;
}

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string object_of(size_t n_members) {
  std::string text = "{";
  for (size_t i = 0; i < n_members; ++i)
    text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":" + std::to_string(i);
  return text + "}";
}

TEST_CASE("json: values of every kind are those that nlohmann's own parser gives") {
  for (const char* text : {"null", "true", "0", "-1", "9223372036854775807", "-9223372036854775808", "1.5",
                           "1e3", "-0.0", R"("")", R"("aé\n\ud83d\ude00")", "[]", "{}", "[[],{},[1,[2]]]",
                           R"({"b":{"y":1,"x":[true,null]},"a":"text","":0})", " \t\r\n[ 1 , 2 ] \n"}) {
    INFO(text);
    CHECK(read_json(text) == Json::parse(text));
    CHECK(read_ordered_json(text).dump() == OrderedJson::parse(text).dump());
  }
}

TEST_CASE("json: members keep the text's order if that is asked for") {
  CHECK(read_ordered_json(R"({"b":1,"c":{"z":0,"y":0},"a":2})").dump() ==
        R"({"b":1,"c":{"z":0,"y":0},"a":2})");
}

TEST_CASE("json: what is no JSON is refused by line and column") {
  CHECK_THAT(refused(Kind::kSyntax, "{\"a\": 1,\n \"b\" 2}"), ContainsSubstring("line 2, column 7: "));
  CHECK_THAT(refused(Kind::kSyntax, ""), ContainsSubstring("line 1, column 1: "));
  CHECK_THAT(refused(Kind::kSyntax, "[1] x"), ContainsSubstring("near \"[1] x\""));
  for (const char* text : {"[1,]", "{\"a\":1,}", "{1:2}", "[1", "{\"a\"", "01", "+1", ".5", "1.", "'a'",
                           "\"a", "\"\t\"", "\"\xff\"", "\"\\ud800\"", "nul", "[1] [2]", "/* c */ 1"})
    refused(Kind::kSyntax, text);
  for (const std::string& text : {std::string("1\0", 2), std::string("1\0x", 3), std::string("[\0]", 3),
                                  std::string("\"\0\"", 3), std::string(1, '\0')})
    refused(Kind::kSyntax, text);
}

TEST_CASE("json: the message of a syntax error is short, whatever the text") {
  const std::string million(1'000'000, 'x');
  for (const std::string& text : {"\"" + million, "[" + million, "\"" + million + "\" 1", "\"\xff" + million})
    CHECK(refused(Kind::kSyntax, text).size() < 300);
  CHECK(refused(Kind::kTwice, "{\"" + million + "\":0,\"" + million + "\":0}").size() < 200);
  CHECK(refused(Kind::kWideInteger, std::string(300, '1')).size() < 200);
  CHECK(refused(Kind::kNotFinite, std::string(1000, '1')).size() < 200);
}

TEST_CASE("json: a key that is there twice is refused at its second place, at any depth") {
  CHECK_THAT(refused(Kind::kTwice, "{\"a\":1,\n\"b\":2,\"a\":3}"),
             ContainsSubstring("line 2, column 9: the key \"a\" is there twice"));
  CHECK_THAT(refused(Kind::kTwice, R"([{"x":[{"k":1,"l":0,"k":1}]}])"), ContainsSubstring("\"k\""));
  refused(Kind::kTwice, R"({"a":1,"\u0061":2})");
  refused(Kind::kTwice, R"({"":1,"":2})");
  CHECK_NOTHROW(read_json(R"([{"a":1},{"a":{"a":1}}])"));
  std::string large = object_of(100'000);
  CHECK(read_json(large).size() == 100'000);
  large.back() = ',';
  CHECK_THAT(refused(Kind::kTwice, large + R"("k7":0})"), ContainsSubstring("\"k7\" is there twice"));
}

TEST_CASE("json: nesting is accepted to its limit and refused one past it") {
  const JsonLimits limits{.max_depth = 64};
  CHECK_NOTHROW(read_json(nested(64), limits));
  CHECK_THAT(refused(Kind::kDepth, nested(65), limits), ContainsSubstring("more than 64 deep"));
  refused(Kind::kDepth, std::string(1'000'000, '['), limits);
  CHECK_NOTHROW(read_json("1", {.max_depth = 0}));
  refused(Kind::kDepth, "[]", {.max_depth = 0});
}

TEST_CASE("json: members of an object are accepted to their limit and refused one past it") {
  const JsonLimits limits{.max_members = 1024};
  CHECK(read_ordered_json("[" + object_of(1024) + "," + object_of(1024) + "]", limits).size() == 2);
  CHECK_THAT(refused(Kind::kMembers, object_of(1025), limits), ContainsSubstring("at most 1024 members"));
}

TEST_CASE("json: values are counted all together, containers with them") {
  CHECK_NOTHROW(read_json(R"([1,{"a":[]}])", {.max_values = 4}));
  CHECK_THAT(refused(Kind::kValues, R"([1,{"a":[]}])", {.max_values = 3}),
             ContainsSubstring("at most 3 values"));
  refused(Kind::kValues, "1", {.max_values = 0});
}

TEST_CASE("json: integers beyond 64 bits are refused, or rounded if a file may have them") {
  const JsonLimits rounding{.rounds_wide_integers = true};
  for (const char* text : {"9223372036854775808", "18446744073709551615", "18446744073709551616",
                           "-9223372036854775809", "1000000000000000019884624838656"}) {
    CHECK_THAT(refused(Kind::kWideInteger, text), ContainsSubstring(text));
    CHECK(read_json(text, rounding) == Json::parse(text));
  }
  CHECK(read_json("1e30") == 1e30);
}

TEST_CASE("json: numbers that are not finite are refused with their key") {
  CHECK_THAT(refused(Kind::kNotFinite, R"({"a":{"b":0},"c":[1,NaN]})"),
             ContainsSubstring("the key \"c\" to have finite numbers, found NaN"));
  CHECK_THAT(refused(Kind::kNotFinite, R"({"a": -Infinity})"), ContainsSubstring("found -Infinity"));
  CHECK_THAT(refused(Kind::kNotFinite, "NaN"), ContainsSubstring("found NaN"));
  CHECK_THAT(refused(Kind::kNotFinite, R"({"a": 1e999})"), ContainsSubstring("too large"));
}

TEST_CASE("json: a million small objects are read, not rescanned") {
  std::string text = "[{\"a\":1}";
  for (int i = 1; i < 1'000'000; ++i) text += ",{\"a\":1}";
  CHECK(read_ordered_json(text + "]").size() == 1'000'000);
}

TEST_CASE("json: an object that grows moves its members instead of copying them") {
  // If a large innermost value were copied at every level and every doubling, this would take minutes.
  std::string text = "[0";
  for (int i = 0; i < 1'000'000; ++i) text += ",[]";
  text += "]";
  for (int depth = 0; depth < 60; ++depth) {
    text = "{\"first\":" + text;
    for (int i = 0; i < 40; ++i) text += ",\"k" + std::to_string(i) + "\":0";
    text += "}";
  }
  CHECK(read_ordered_json(text).size() == 41);
}

TEST_CASE("json: the check is called now and then, and may stop the reading") {
  std::string text = "[0";
  for (int i = 0; i < 100'000; ++i) text += ",0";
  text += "]";
  int calls = 0;
  CHECK_NOTHROW(read_json(text, {.check = [&] { ++calls; }}));
  CHECK(calls == 24);
  struct Stopped {};
  CHECK_THROWS_AS(read_json(text, {.check = [] { throw Stopped(); }}), Stopped);
}

TEST_CASE("json: members are handed over in order and not kept") {
  std::string seen;
  const auto note = [&](const std::string& key, const Json& value) {
    seen += key + "=" + value.dump() + ";";
  };
  read_json_members(R"({"b":{"x":[1,2]},"a":3,"c":{}})", {}, note);
  CHECK(seen == R"(b={"x":[1,2]};a=3;c={};)");
  seen.clear();
  read_json_members(" {} ", {}, note);
  CHECK(seen.empty());
  for (const char* text : {"[1]", "1", "\"a\"", "null", "{\"a\":1", "{} {}"})
    CHECK_THROWS_AS(read_json_members(text, {}, note), JsonError);
  try {
    read_json_members(R"({"a":{"k":1},"a":2})", {}, note);
    FAIL_CHECK("accepted");
  } catch (const JsonError& e) {
    CHECK_THAT(e.what(), ContainsSubstring("the key \"a\" is there twice"));
  }
}

TEST_CASE("json: an excerpt is the value's beginning in ASCII") {
  CHECK(json_excerpt(Json::parse(R"({"b":[1,"é"],"a":null})")) == R"({"a":null,"b":[1,"\u00e9"]})");
  CHECK(json_excerpt(Json(std::string(100, 'x'))) == "\"" + std::string(56, 'x') + "...");
  CHECK(json_excerpt(Json(std::string("\xff"))) == R"("\ufffd")");
  CHECK(json_excerpt(Json(std::vector<int>(1'000'000, 1))).size() == 60);
  CHECK(json_excerpt(Json(12)) == "12");
}

}  // namespace
}  // namespace seer
