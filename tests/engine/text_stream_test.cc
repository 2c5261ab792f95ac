// The text that a user sees while tokens arrive: whole characters, no special tokens, no part of a stop
// string.
#include "engine/src/text_stream.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

// Ids are indices into a list of pieces; the last one is special.
class Pieces final : public TextTokenizer {
 public:
  Pieces(std::vector<std::string> pieces, bool strips) : pieces_(std::move(pieces)), strips_(strips) {}
  std::vector<int32_t> encode(std::string_view, bool) const override { return {}; }
  std::vector<int32_t> encode(const MarkedText&, const std::vector<int32_t>&) const override { return {}; }
  std::string piece(int32_t id) const override { return pieces_.at(static_cast<size_t>(id)); }
  std::string decode(const std::vector<int32_t>&, bool) const override { return {}; }
  int64_t n_vocab() const override { return static_cast<int64_t>(pieces_.size()); }
  int32_t bos_id() const override { return -1; }
  int32_t eos_id() const override { return -1; }
  bool add_bos() const override { return false; }
  bool add_eos() const override { return false; }
  bool is_special(int32_t id) const override { return id + 1 == n_vocab(); }
  int32_t special_id(std::string_view) const override { return -1; }
  int32_t added_id(std::string_view) const override { return -1; }
  std::vector<std::pair<int32_t, std::string>> added_tokens_in(std::string_view) const override { return {}; }
  int64_t least_tokens(std::string_view) const override { return 0; }
  bool strips_first_space() const override { return strips_; }
  std::string kind() const override { return "pieces"; }

 private:
  std::vector<std::string> pieces_;
  bool strips_;
};

using Strings = std::vector<std::string>;

// Returns the text that each of the ids 0, 1, ... releases, and then the rest.
Strings stream(const Strings& pieces, const Strings& stops, bool at_start = false, bool strips = false) {
  Strings all = pieces;
  all.emplace_back("<special>");
  const Pieces tokenizer(all, strips);
  TextStream text(&tokenizer, stops, at_start);
  Strings out;
  for (size_t id = 0; id < pieces.size(); ++id) out.push_back(text.push(static_cast<int32_t>(id)));
  out.push_back(text.finish());
  return out;
}

TEST_CASE("a character split over tokens comes out with its last token") {
  CHECK(stream({"a\xF0\x9F", "\x98",
                "\x80"
                "b"},
               {}) == Strings{"a", "", "\U0001F600b", ""});
}

TEST_CASE("a character that no token ends is one replacement at the end") {
  CHECK(stream({"a", "\xE2\x82"}, {}) == Strings{"a", "", "\uFFFD"});
}

TEST_CASE("a stop string may begin in one token and end in another") {
  CHECK(stream({"one ", "EN", "D two"}, {"END"}) == Strings{"one ", "", "", ""});
  CHECK(stream({"one ", "EN", "TER"}, {"END"}) == Strings{"one ", "", "ENTER", ""});
  CHECK(stream({"one ", "EN"}, {"END"}) == Strings{"one ", "", "EN"});
}

TEST_CASE("a stop string may be half of a split character's text") {
  CHECK(stream({"x\xE2", "\x82\xAC", "y"}, {"\u20AC"}) == Strings{"x", "", "", ""});
}

TEST_CASE("the replacement of an unfinished character can complete a stop string") {
  CHECK(stream({"a", "\xE2"}, {"\uFFFD"}) == Strings{"a", "", ""});
}

TEST_CASE("which stop string was met is told") {
  const Pieces tokenizer({"to stop ", "or end", "<special>"}, false);
  TextStream text(&tokenizer, {"never", "end", "or"}, false);
  CHECK(text.push(0) == "to stop ");
  CHECK_FALSE(text.stopped());
  CHECK(text.push(1) == "");
  CHECK(text.stopped());
  CHECK(text.stop() == "or");  // the earliest, not the first listed
  CHECK(text.push(0) == "");
  CHECK(text.finish() == "");
}

TEST_CASE("the first space goes only at a text's start, if the vocabulary has it so") {
  CHECK(stream({" a", " b"}, {}, /*at_start=*/true, /*strips=*/true) == Strings{"a", " b", ""});
  CHECK(stream({" a", " b"}, {}, /*at_start=*/false, /*strips=*/true) == Strings{" a", " b", ""});
  CHECK(stream({" a", " b"}, {}, /*at_start=*/true, /*strips=*/false) == Strings{" a", " b", ""});
  CHECK(stream({"a", " b"}, {}, /*at_start=*/true, /*strips=*/true) == Strings{"a", " b", ""});
  CHECK(stream({"  a"}, {}, /*at_start=*/true, /*strips=*/true) == Strings{" a", ""});
}

TEST_CASE("special tokens have no text and leave the text's start where it is") {
  const Pieces tokenizer({" a", "<special>"}, true);
  TextStream text(&tokenizer, {}, true);
  CHECK(text.push(1) == "");
  CHECK(text.push(0) == "a");
  CHECK(text.push(1) == "");
  CHECK(text.push(0) == " a");
}

TEST_CASE("ids beyond the tokenizer have no text and leave the text's start where it is") {
  const Pieces tokenizer({" a", "<special>"}, true);
  TextStream text(&tokenizer, {"a a"}, true);
  CHECK(text.push(2) == "");
  CHECK(text.push(INT32_MAX) == "");
  CHECK(text.push(0) == "");  // may begin the stop string
  CHECK(text.push(2) == "");
  CHECK(text.push(0) == "");
  CHECK(text.stopped());
}

TEST_CASE("a stop string that is not looked for yet goes by, and one after it is met") {
  const Pieces tokenizer({"x", "y", "<special>"}, false);
  TextStream text(&tokenizer, {"xy"}, false);
  CHECK(text.push(0, false) == "x");
  CHECK(text.push(1, false) == "y");
  CHECK(text.push(0) == "");
  CHECK(text.push(1) == "");
  CHECK(text.stop() == "xy");
}

TEST_CASE("without a tokenizer there is no text, and stop strings are a usage error") {
  TextStream text(nullptr, {}, true);
  CHECK(text.push(5) == "");
  CHECK(text.finish() == "");
  CHECK_THAT(testing::error_of([] { TextStream(nullptr, {"x"}, true); }),
             ContainsSubstring("usage: ") && ContainsSubstring("tokenizer"));
}

TEST_CASE("an empty stop string is a usage error") {
  const Pieces tokenizer({"a"}, false);
  CHECK_THAT(testing::error_of([&] {
               TextStream(&tokenizer, {"x", ""}, true);
             }),
             ContainsSubstring("usage: ") && ContainsSubstring("stop string"));
}

}  // namespace
}  // namespace seer
