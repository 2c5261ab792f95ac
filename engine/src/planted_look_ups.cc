#include "engine/src/planted_look_ups.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "models/distill/seeded.h"

namespace seer {
namespace {

// Makes a seed of its own from the seed of the training, so that the numbers by which windows are chosen
// (models/distill/windows.h) are not drawn again here.
constexpr uint64_t kPurpose = 0x6c6f6f6b;
constexpr int64_t kTokensOfLookUp = 800;  // a window has at most one look-up for so many tokens
constexpr int64_t kMostLookUps = 10, kMostAsked = 3;
constexpr size_t kLeastDigits = 4, kMostDigits = 6;

constexpr std::string_view kNumber = "{number}";

struct Form {
  std::string_view fact, question;
};
// A model that completes texts looks a number up if the words before it come again, so questions end with a
// sentence that has the words of the fact.
constexpr std::array<Form, 5> kLookUpForms = {{
    {"The lucky number of the {who} is {number}.",
     "What is the lucky number of the {who}? The lucky number of the {who} is {number}."},
    {"The key to the {what} is {number}.",
     "What is the key to the {what}? The key to the {what} is {number}."},
    {"The {who} paid {number} crowns for the {what}.",
     "How many crowns did the {who} pay for the {what}? The {who} paid {number} crowns for the {what}."},
    {"On the {what} of the {who} stood the figures {number}.",
     "Which figures stood on the {what}? On the {what} of the {who} stood the figures {number}."},
    {"Remember that the {who} lives in house {number}.",
     "In which house does the {who} live? The {who} lives in house {number}."},
}};
// More words than look-ups, none of which gates are judged by.
constexpr std::array kWho = {"baker", "weaver", "porter", "clerk",    "nurse", "tailor",
                             "cook",  "miller", "groom",  "gardener", "piper", "drummer"};
constexpr std::array kWhat = {"lantern", "saddle", "violin", "clock",  "mirror", "barrel",
                              "ladder",  "anchor", "kettle", "carpet", "trunk",  "wagon"};
static_assert(kWho.size() > kMostLookUps && kWhat.size() > kMostLookUps);

std::string filled_in(std::string text, std::string_view place, std::string_view by) {
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + by.size()))
    text.replace(at, place.size(), by);
  return text;
}

int64_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

class PlantedLookUps::Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(seed) {}
  size_t below(size_t n) { return static_cast<size_t>(seeded_bits(seed_, n_drawn_++) % n); }
  int64_t up_to(int64_t most) { return 1 + static_cast<int64_t>(below(static_cast<size_t>(most))); }
  double unit() { return seeded_unit(seed_, n_drawn_++); }
  std::string number() {
    std::string digits(kLeastDigits + below(kMostDigits - kLeastDigits + 1), '0');
    for (char& digit : digits) digit = static_cast<char>('0' + below(10));
    return digits;
  }

 private:
  uint64_t seed_, n_drawn_ = 0;
};

PlantedLookUps::PlantedLookUps(const Tokenizer& tokenizer, double share, uint64_t seed)
    : tokenizer_(tokenizer), share_(share), seed_(seeded_bits(seed, kPurpose)) {
  for (int64_t id = 0; id < tokenizer.n_vocab(); ++id) {
    const std::string bytes = tokenizer.token_bytes(static_cast<int32_t>(id));
    const bool sentence =
        !bytes.empty() && std::string_view(".!?").find(bytes.back()) != std::string_view::npos;
    endings_.push_back(!bytes.empty() && bytes.back() == '\n' ? Ending::kLine
                       : sentence                             ? Ending::kSentence
                                                              : Ending::kNone);
  }
  for (size_t form = 0; form < kLookUpForms.size(); ++form)
    for (size_t word = 0; word < kWho.size(); ++word)
      n_longest_ = std::max(n_longest_, look_up(form, word, word, std::string(kMostDigits, '7')).size());
}

PlantedLookUps::Ending PlantedLookUps::ending(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return i < endings_.size() ? endings_[i] : Ending::kNone;
}

PlantedWindow PlantedLookUps::window(std::span<const int32_t> tokens, int64_t i, int64_t first_answer) const {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  Draw draw(seeded_bits(seed_, static_cast<uint64_t>(i)));
  std::vector<LookUp> look_ups;
  if (draw.unit() < share_) look_ups = draw_look_ups(n_tokens, &draw);
  int64_t n_text = n_tokens;  // how much of the text is left in any case
  for (const LookUp& look_up : look_ups) n_text -= look_up.size();
  const std::vector<int64_t> breaks = breaks_of(tokens.first(static_cast<size_t>(n_text)));

  PlantedWindow out;
  auto next = tokens.begin();
  for (const Planted& planted : place(look_ups, breaks, first_answer, &draw)) {
    const auto until = tokens.begin() + planted.before;
    out.ids.insert(out.ids.end(), next, until);
    next = until;
    const Line& line = *planted.line;
    const int64_t skipped = ending(out.ids.back()) == Ending::kLine ? line.n_lead : 0;
    const int64_t begin = static_cast<int64_t>(out.ids.size()) - skipped;
    out.ids.insert(out.ids.end(), line.ids.begin() + skipped, line.ids.end());
    if (!planted.asks) continue;
    for (int64_t k = 0; k < line.n_answer; ++k) out.answers.push_back(begin + line.answer + k - 1);
  }
  out.ids.insert(out.ids.end(), next, tokens.end());
  out.ids.resize(tokens.size());
  return out;
}

std::vector<int64_t> PlantedLookUps::breaks_of(std::span<const int32_t> tokens) const {
  std::vector<int64_t> breaks;
  for (size_t at = 1; at < tokens.size(); ++at)
    if (ending(tokens[at - 1]) != Ending::kNone && ending(tokens[at]) != Ending::kLine)
      breaks.push_back(static_cast<int64_t>(at));
  return breaks;
}

std::vector<PlantedLookUps::LookUp> PlantedLookUps::draw_look_ups(int64_t n_tokens, Draw* draw) const {
  std::vector<LookUp> look_ups;
  int64_t n_left = n_tokens / kWindowsOfLookUps;
  const int64_t n = draw->up_to(std::min(kMostLookUps, 1 + n_tokens / kTokensOfLookUp));
  const size_t who = draw->below(kWho.size()), what = draw->below(kWhat.size());
  for (size_t k = 0; k < static_cast<size_t>(n); ++k) {
    LookUp made = look_up(draw->below(kLookUpForms.size()), (who + k) % kWho.size(),
                          (what + k) % kWhat.size(), draw->number());
    made.n_asked = draw->up_to(kMostAsked);
    while (made.n_asked > 1 && made.size() > n_left) --made.n_asked;
    if (made.size() > n_left) break;
    n_left -= made.size();
    look_ups.push_back(std::move(made));
  }
  return look_ups;
}

std::vector<PlantedLookUps::Planted> PlantedLookUps::place(const std::vector<LookUp>& look_ups,
                                                           const std::vector<int64_t>& breaks,
                                                           int64_t first_answer, Draw* draw) const {
  // The first break is for facts alone.
  const auto first = static_cast<size_t>(
      std::max<int64_t>(1, std::lower_bound(breaks.begin(), breaks.end(), first_answer) - breaks.begin()));
  std::vector<Planted> lines;
  if (first >= breaks.size()) return lines;
  for (const LookUp& look_up : look_ups) {
    size_t earliest = breaks.size();
    for (int64_t k = 0; k < look_up.n_asked; ++k) {
      const size_t at = first + draw->below(breaks.size() - first);
      lines.push_back({breaks[at], &look_up.question, true});
      earliest = std::min(earliest, at);
    }
    lines.push_back({breaks[draw->below(earliest)], &look_up.fact, false});
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Planted& a, const Planted& b) { return a.before < b.before; });
  return lines;
}

PlantedLookUps::LookUp PlantedLookUps::look_up(size_t form, size_t who, size_t what,
                                               const std::string& number) const {
  const auto of = [&](std::string_view text) {
    return line(filled_in(filled_in(std::string(text), "{who}", kWho[who]), "{what}", kWhat[what]), number);
  };
  return {of(kLookUpForms[form].fact), of(kLookUpForms[form].question), 1};
}

PlantedLookUps::Line PlantedLookUps::line(const std::string& text, const std::string& number) const {
  // A tokenizer may join letters and blanks to what follows them, so texts are compared as tokens.
  const std::string before = "a\n" + text.substr(0, text.find(kNumber) - 1);  // without the blank at its end
  const std::vector<int32_t> whole =
      tokenizer_.encode("a\n" + filled_in(text, kNumber, number) + "\n", false);
  const auto shared_with = [&](const std::string& other) {
    return common_prefix(whole, tokenizer_.encode(other, false));
  };
  const int64_t begin = shared_with("a");
  Line line;
  line.ids.assign(whole.begin() + begin, whole.end());
  line.n_lead = shared_with("a\n") - begin;
  line.answer = shared_with(before) - begin;
  line.n_answer = shared_with(before + " " + number) - begin - line.answer;
  return line;
}

}  // namespace seer
