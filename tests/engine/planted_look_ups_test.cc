// Look-ups that are planted in windows of training texts.
#include "engine/src/planted_look_ups.h"

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using Ids = std::vector<int32_t>;

class Planting {
 public:
  explicit Planting(double share, uint64_t seed = 0)
      : tokenizer_(Tokenizer::load((testing::demo_model() / "model").string())),
        look_ups_(*tokenizer_, share, seed) {}

  // A window of `n` tokens of short sentences without numbers.
  Ids prose(size_t n) const {
    std::string text;
    for (size_t i = 0; i < n / 4; ++i) text += i % 3 == 0 ? "It was dark.\n" : "The old house slept. ";
    Ids ids = tokenizer_->encode(text, false);
    REQUIRE(ids.size() >= n);
    ids.resize(n);
    return ids;
  }
  Ids plant(const Ids& window, int64_t i) const { return look_ups_.window(window, i); }
  std::string text(const Ids& ids) const { return tokenizer_->decode(ids); }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  PlantedLookUps look_ups_;
};

std::vector<std::string> numbers(const std::string& text) {
  static const std::regex kNumber("[0-9]{4,6}");
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), kNumber), end; at != end; ++at)
    found.push_back(at->str());
  return found;
}

TEST_CASE(
    "planted look-ups are lines with a number, most of which come again, in a window of the same size") {
  const Planting planting(1.0);
  const Ids window = planting.prose(4096);
  size_t n_facts = 0, n_repeats = 0;
  for (int64_t i = 0; i < 20; ++i) {
    const Ids planted = planting.plant(window, i);
    CHECK(planted.size() == window.size());
    const std::string text = planting.text(planted);
    INFO(text.substr(0, 3000));
    const std::vector<std::string> found = numbers(text);
    const std::set<std::string> facts(found.begin(), found.end());
    CHECK(!facts.empty());
    CHECK(facts.size() <= 6);  // one for 800 tokens, and one more
    n_facts += facts.size();
    n_repeats += found.size() - facts.size();
    // Gates are judged by other words.
    CHECK(text.find("secret") == std::string::npos);
    CHECK(text.find("number") == std::string::npos);
    // The prose goes on around each line.
    for (const std::string& number : facts) {
      const size_t at = text.find(number), begin = text.rfind('\n', at), end = text.find('\n', at);
      REQUIRE(begin != std::string::npos);
      const std::string line = text.substr(begin + 1, end - begin - 1);
      CHECK((line.ends_with(".") || end == std::string::npos));
      CHECK(line.find("house") == std::string::npos);
      CHECK(line.find("dark") == std::string::npos);
    }
  }
  CHECK(n_repeats > n_facts);  // one to three for each fact, less what the window's end cuts off
}

TEST_CASE("planted look-ups are a function of the seed and of the window's number") {
  const Planting planting(1.0), same(1.0), other(1.0, 1);
  const Ids window = planting.prose(1000);
  CHECK((planting.plant(window, 3) == same.plant(window, 3)));
  CHECK((planting.plant(window, 3) != planting.plant(window, 4)));
  CHECK((planting.plant(window, 3) != other.plant(window, 3)));
}

TEST_CASE("look-ups are planted in the share of windows that is asked for, and else nothing changes") {
  const Planting none(0.0), some(0.25);
  const Ids window = none.prose(300);
  int n_planted = 0;
  for (int64_t i = 0; i < 400; ++i) {
    CHECK((none.plant(window, i) == window));
    n_planted += some.plant(window, i) == window ? 0 : 1;
  }
  CHECK(n_planted > 70);  // 100 expected, with a deviation of 9
  CHECK(n_planted < 130);
}

TEST_CASE("a window in which no two sentences end stays as it is") {
  const Planting planting(1.0);
  Ids window = planting.tokenizer().encode("a house and a garden and a house and a garden", false);
  CHECK((planting.plant(window, 0) == window));
  const Ids end = planting.tokenizer().encode("It was dark. It was", false);
  window.insert(window.end(), end.begin(), end.end());
  for (int64_t i = 0; i < 5; ++i) CHECK((planting.plant(window, i) == window));
}

}  // namespace
}  // namespace seer
