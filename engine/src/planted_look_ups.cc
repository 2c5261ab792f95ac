#include "engine/src/planted_look_ups.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "models/distill/seeded.h"

namespace seer {
namespace {

constexpr uint64_t kPurpose = 0x6c6f6f6b;  // the seed's numbers for windows are not used again
constexpr int64_t kTokensOfFact = 800;     // a window has at most one fact for so many tokens
constexpr size_t kMostFacts = 10, kMostRepeats = 3;

struct Form {
  std::string_view fact, repeat;
};
constexpr std::array<Form, 4> kForms = {{
    {"The {who} paid {number} crowns for the {what}.", "For the {what} the {who} paid {number} crowns."},
    {"On the {what} of the {who} stood the figures {number}.",
     "Which figures stood on the {what} of the {who}? They were {number}."},
    {"Ticket {number} for the {what} was sold to the {who}.",
     "The {who} had the {what}, by ticket {number}."},
    {"The {who} counted {number} marks on the {what}.", "The {who} counted {number} marks on the {what}."},
}};
// More words than facts, none of which gates are judged by.
constexpr std::array kWho = {"baker", "weaver", "porter", "clerk",    "nurse", "tailor",
                             "cook",  "miller", "groom",  "gardener", "piper", "drummer"};
constexpr std::array kWhat = {"lantern", "saddle", "violin", "clock",  "mirror", "barrel",
                              "ladder",  "anchor", "kettle", "carpet", "trunk",  "wagon"};
static_assert(kWho.size() > kMostFacts && kWhat.size() > kMostFacts);

std::string filled_in(std::string_view form, std::string_view who, std::string_view what,
                      std::string_view number) {
  std::string text(form);
  for (const auto& [name, value] : {std::pair{std::string_view("{who}"), who},
                                    {std::string_view("{what}"), what},
                                    {std::string_view("{number}"), number}})
    text.replace(text.find(name), name.size(), value);
  return text;
}

}  // namespace

class PlantedLookUps::Draw {
 public:
  explicit Draw(uint64_t seed) : seed_(seed) {}
  size_t below(size_t n) { return static_cast<size_t>(seeded_bits(seed_, n_drawn_++) % n); }
  double unit() { return seeded_unit(seed_, n_drawn_++); }

 private:
  uint64_t seed_, n_drawn_ = 0;
};

PlantedLookUps::PlantedLookUps(const Tokenizer& tokenizer, double share, uint64_t seed)
    : tokenizer_(tokenizer), share_(share), seed_(seeded_bits(seed, kPurpose)) {
  for (int64_t id = 0; id < tokenizer.n_vocab(); ++id) {
    const std::string bytes = tokenizer.token_bytes(static_cast<int32_t>(id));
    ends_.push_back(!bytes.empty() && (bytes.find('\n') != std::string::npos ||
                                       std::string_view(".!?").find(bytes.back()) != std::string_view::npos));
  }
}

std::vector<int32_t> PlantedLookUps::window(std::span<const int32_t> tokens, int64_t i) const {
  Draw draw(seeded_bits(seed_, static_cast<uint64_t>(i)));
  std::vector<int64_t> breaks;
  if (draw.unit() < share_)
    for (size_t at = 1; at < tokens.size(); ++at) {
      const auto id = static_cast<size_t>(tokens[at - 1]);
      if (id < ends_.size() && ends_[id]) breaks.push_back(static_cast<int64_t>(at));
    }
  if (breaks.size() < 2) return {tokens.begin(), tokens.end()};
  std::vector<int32_t> out;
  auto next = tokens.begin();
  for (const Line& planted : draw_lines(breaks, static_cast<int64_t>(tokens.size()), &draw)) {
    const auto until = tokens.begin() + planted.before;
    out.insert(out.end(), next, until);
    out.insert(out.end(), planted.ids.begin(), planted.ids.end());
    next = until;
  }
  out.insert(out.end(), next, tokens.end());
  out.resize(tokens.size());
  return out;
}

std::vector<PlantedLookUps::Line> PlantedLookUps::draw_lines(const std::vector<int64_t>& breaks,
                                                             int64_t n_tokens, Draw* draw) const {
  std::vector<Line> lines;
  const size_t most = std::min(kMostFacts, static_cast<size_t>(1 + n_tokens / kTokensOfFact));
  const size_t n_facts = 1 + draw->below(most), who = draw->below(kWho.size()),
               what = draw->below(kWhat.size());
  for (size_t k = 0; k < n_facts; ++k) {
    const Form& form = kForms[draw->below(kForms.size())];
    const std::string number = std::to_string(1000 + draw->below(999000));
    const auto text = [&](std::string_view of) {
      return line(filled_in(of, kWho[(who + k) % kWho.size()], kWhat[(what + k) % kWhat.size()], number));
    };
    const size_t first = draw->below(breaks.size() - 1);
    lines.push_back({breaks[first], text(form.fact)});
    const std::vector<int32_t> repeat = text(form.repeat);
    for (size_t n = 1 + draw->below(kMostRepeats); n > 0; --n)
      lines.push_back({breaks[first + 1 + draw->below(breaks.size() - first - 1)], repeat});
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.before < b.before; });
  return lines;
}

std::vector<int32_t> PlantedLookUps::line(const std::string& text) const {
  const std::vector<int32_t> whole = tokenizer_.encode("a\n" + text + "\n", false),
                             before = tokenizer_.encode("a", false);
  // A tokenizer may join the letter to the line end, so texts are compared as tokens.
  const auto [unused, begin] = std::mismatch(before.begin(), before.end(), whole.begin(), whole.end());
  return {begin, whole.end()};
}

}  // namespace seer
