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
  explicit Planting(double share, uint64_t seed = 0,
                    const std::string& model_dir = (testing::demo_model() / "model").string())
      : tokenizer_(Tokenizer::load(model_dir)), look_ups_(*tokenizer_, share, seed) {}

  // A window of `n` tokens of short sentences without numbers.
  Ids prose(int64_t n) const {
    std::string text;
    for (int64_t i = 0; i < n; ++i) text += i % 3 == 0 ? "It was dark.\n" : "The old house slept. ";
    return first(text, n);
  }
  // The first `n` tokens of a text.
  Ids first(const std::string& text, int64_t n) const {
    Ids ids = tokenizer_->encode(text, false);
    REQUIRE(static_cast<int64_t>(ids.size()) >= n);
    ids.resize(static_cast<size_t>(n));
    return ids;
  }
  // Answers are in the second half.
  PlantedWindow plant(const Ids& window, int64_t i) const {
    return look_ups_.window(window, i, static_cast<int64_t>(window.size()) / 2);
  }
  // The text of the tokens from `begin` to before `end`.
  std::string text(const Ids& ids, size_t begin, size_t end) const {
    const auto at = [&](size_t i) { return ids.begin() + static_cast<std::ptrdiff_t>(i); };
    return tokenizer_->decode(Ids(at(begin), at(end)));
  }
  std::string text(const Ids& ids) const { return text(ids, 0, ids.size()); }
  int64_t least_window() const { return look_ups_.least_window(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  PlantedLookUps look_ups_;
};

std::vector<std::string> numbers(const std::string& text) {
  static const std::regex kNumber("[0-9]+");
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), kNumber), end; at != end; ++at)
    found.push_back(at->str());
  return found;
}

// Returns the numbers whose tokens come after the answers' positions, after checks that there is nothing
// else.
std::vector<std::string> answered(const Planting& planting, const PlantedWindow& window) {
  static const std::regex kAnswer(" ?[0-9]{4,6}");
  std::vector<std::string> found;
  for (size_t i = 0; i < window.answers.size();) {
    const auto begin = static_cast<size_t>(window.answers[i]);
    size_t end = begin;
    while (i < window.answers.size() && window.answers[i] == static_cast<int64_t>(end)) ++i, ++end;
    REQUIRE(end < window.ids.size());
    // The number has all tokens after these positions, the last of them included, and no other.
    const std::string answer = planting.text(window.ids, begin + 1, end + 1);
    INFO(planting.text(window.ids, begin - 30, end + 1));
    CHECK(std::regex_match(answer, kAnswer));
    CHECK(planting.text(window.ids, end + 1, end + 2).find_first_of("0123456789") == std::string::npos);
    found.push_back(answer.substr(answer.find_first_not_of(' ')));
    // It was planted before, and the question about it stands right before the answer.
    const std::string before = planting.text(window.ids, 0, begin + 1);
    CHECK(before.find(found.back()) != std::string::npos);
    CHECK(before.rfind('?') > before.rfind('\n'));
  }
  return found;
}

void check_look_ups(const Planting& planting) {
  constexpr int64_t kWindow = 4096;
  const Ids window = planting.prose(kWindow);
  size_t n_facts = 0, n_answers = 0;
  for (int64_t i = 0; i < 10; ++i) {
    const PlantedWindow planted = planting.plant(window, i);
    REQUIRE(static_cast<int64_t>(planted.ids.size()) == kWindow);
    REQUIRE(!planted.answers.empty());
    CHECK(planted.answers.front() >= kWindow / 2);
    const std::vector<std::string> all = numbers(planting.text(planted.ids)),
                                   answers = answered(planting, planted);
    const std::set<std::string> facts(all.begin(), all.end());
    CHECK((std::set<std::string>(answers.begin(), answers.end()) == facts));  // each is asked for
    CHECK(answers.size() + facts.size() == all.size());
    CHECK(facts.size() <= 6);  // one for 800 tokens, and one more
    n_facts += facts.size();
    n_answers += answers.size();
  }
  CHECK(n_answers > n_facts * 3 / 2);  // each is asked for up to three times
  CHECK(n_answers < n_facts * 5 / 2);
}

TEST_CASE("planted numbers are asked for later, and the positions before the answers' tokens are known") {
  check_look_ups(Planting(1.0));
}

TEST_CASE("planted look-ups are right with tokenizers of other kinds", "[long]") {
  for (const char* name : {"qwen2", "llama3.1", "llama2", "deepseek-llm"}) {
    INFO(name);
    if (const auto dir = testing::test_data(std::string("tokenizers/") + name))
      check_look_ups(Planting(1.0, 0, dir->string()));
  }
}

TEST_CASE("planted sentences are lines of their own, in words by which gates are not judged") {
  const Planting planting(1.0);
  const Ids window = planting.prose(4096);
  for (int64_t i = 0; i < 10; ++i) {
    const std::string text = planting.text(planting.plant(window, i).ids);
    CHECK(text.find("secret") == std::string::npos);
    CHECK(text.find("\n\n") == std::string::npos);
    for (const std::string& number : numbers(text)) {
      const size_t at = text.find(number), begin = text.rfind('\n', at), end = text.find('\n', at);
      REQUIRE(begin != std::string::npos);
      REQUIRE(end != std::string::npos);
      const std::string line = text.substr(begin + 1, end - begin - 1);
      INFO(line);
      CHECK(line.ends_with("."));
      CHECK(line.find("house slept") == std::string::npos);
      CHECK(line.find("dark") == std::string::npos);
    }
  }
}

TEST_CASE("planted look-ups are a function of the seed and of the window's number") {
  const Planting planting(1.0), same(1.0), other(1.0, 1);
  const Ids window = planting.prose(1000);
  CHECK((planting.plant(window, 3).ids == same.plant(window, 3).ids));
  CHECK((planting.plant(window, 3).answers == same.plant(window, 3).answers));
  CHECK((planting.plant(window, 3).ids != planting.plant(window, 4).ids));
  CHECK((planting.plant(window, 3).ids != other.plant(window, 3).ids));
}

TEST_CASE("look-ups are planted in the share of windows that is asked for, and else nothing changes") {
  const Planting none(0.0), some(0.25);
  const Ids window = none.prose(400);
  int n_planted = 0;
  for (int64_t i = 0; i < 400; ++i) {
    const PlantedWindow plain = none.plant(window, i), planted = some.plant(window, i);
    CHECK((plain.ids == window));
    CHECK(plain.answers.empty());
    CHECK((planted.ids == window) == planted.answers.empty());
    n_planted += planted.answers.empty() ? 0 : 1;
  }
  CHECK(n_planted > 70);  // 100 expected, with a deviation of 9
  CHECK(n_planted < 130);
}

TEST_CASE("a window in which no sentence ends in time stays as it is") {
  const Planting planting(1.0);
  std::string endless;
  for (int i = 0; i < 400; ++i) endless += "a house and a garden ";
  const Ids without = planting.first(endless, 600), early = planting.first("It was. It is. " + endless, 600);
  for (int64_t i = 0; i < 5; ++i) {
    CHECK((planting.plant(without, i).ids == without));
    CHECK((planting.plant(early, i).ids == early));  // a place for facts, and none for questions
    CHECK(planting.plant(early, i).answers.empty());
  }
}

TEST_CASE("the smallest window has room for a look-up, and a much smaller one stays as it is") {
  const Planting planting(1.0);
  const Ids least = planting.prose(planting.least_window()), small = planting.prose(100);
  CHECK(planting.least_window() > 100);
  CHECK(planting.least_window() < 512);
  for (int64_t i = 0; i < 20; ++i) {
    CHECK(numbers(planting.text(planting.plant(least, i).ids)).size() >= 2);
    CHECK((planting.plant(small, i).ids == small));
  }
}

}  // namespace
}  // namespace seer
