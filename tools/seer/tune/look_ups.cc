#include "tools/seer/tune/look_ups.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string_view>

#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"

namespace seer::cli {
namespace {

constexpr std::string_view kSubject = "{subject}", kNumber = "{number}", kBlanks = " \t\r\n";
// A sentence is planted after a line if one ends within this many bytes, else after a word.
constexpr size_t kNearBytes = 400;

constexpr std::array kSubjects = {
    "garden",  "castle",  "river",  "letter",   "captain",  "doctor",  "window",  "forest",   "island",
    "village", "teacher", "sailor", "merchant", "stranger", "cottage", "harbour", "mountain", "carriage",
    "bridge",  "tower",   "church", "school",   "market",   "prison",  "palace",  "library",  "kitchen"};

std::string filled_in(std::string text, std::string_view what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

bool is_blank(char c) { return kBlanks.find(c) != std::string_view::npos; }
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// Returns a position near `at`: the next end of a line, if there is none the next end of a word, and if there
// is none the next beginning of a character.
size_t next_break(const std::string& text, size_t at) {
  const size_t last = std::min(at + kNearBytes, text.size());
  for (size_t i = at; i < last; ++i)
    if (text[i] == '\n') return i;
  for (size_t i = at; i < last; ++i)
    if (is_blank(text[i])) return i;
  while (at < text.size() && !begins_character(text[at])) ++at;
  return at;
}

// Draws numbers that are the same with every standard library. Those of the library's distributions are not.
class Draw {
 public:
  explicit Draw(int64_t seed) : random_(static_cast<uint64_t>(seed)) {}
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }
  double share() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

 private:
  std::mt19937_64 random_;
};

size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(end - a.begin());
}

class LookUpMaker {
 public:
  LookUpMaker(const LookUpOptions& options, const std::string& text, int64_t n_tokens, int64_t window,
              const Tokenizer& tokenizer)
      : options_(options), text_(text), window_(static_cast<size_t>(window)), tokenizer_(tokenizer) {
    if (options.chat_template.given()) template_ = options.chat_template.load(tokenizer);
    token_bytes_ = static_cast<double>(text.size()) / static_cast<double>(std::max<int64_t>(n_tokens, 1));
    for (const char* subject : kSubjects) {
      const std::string fact = filled_in(options.fact, kSubject, subject);
      if (text.find(fact.substr(0, fact.find(kNumber))) == std::string::npos) subjects_.emplace_back(subject);
    }
    if (subjects_.empty())
      throw Error(ErrorKind::kUsage,
                  "the text has the sentences of look-ups about every subject; give another "
                  "--look-up-fact, or --look-ups 0");
  }

  LookUp make(Draw& draw, double depth) const {
    LookUp look_up;
    look_up.subject = subjects_[draw.below(subjects_.size())];
    look_up.number = format("%05zu", draw.below(100000));
    look_up.depth = depth;
    const auto bytes = static_cast<size_t>(token_bytes_ * static_cast<double>(window_));
    const size_t n_starts = text_.size() > bytes ? text_.size() - bytes + 1 : 1;
    size_t start = draw.below(n_starts);
    if (start > 0) start = next_break(text_, start);
    std::string stretch = text_.substr(start, bytes);
    while (!fill(look_up, stretch)) shorten(stretch, look_up);
    return look_up;
  }

 private:
  // Sets the ids of a look-up in this stretch. Returns whether they fit into a window.
  bool fill(LookUp& look_up, const std::string& stretch) const {
    throw_if_interrupted();
    const std::string fact = in(filled_in(options_.fact, kNumber, look_up.number), look_up);
    const size_t at =
        next_break(stretch, static_cast<size_t>(look_up.depth * static_cast<double>(stretch.size())));
    const size_t after = at < stretch.size() && is_blank(stretch[at]) ? at + 1 : at;
    const std::string document = stretch.substr(0, at) + "\n" + fact + "\n" + stretch.substr(after);
    const std::string question = in(options_.question, look_up), answer = in(options_.answer, look_up);
    const std::vector<int32_t> whole = encode(document, question, answer + " " + look_up.number);
    // A tokenizer may join the last letters of a text to what follows, so texts are compared as tokens.
    const size_t n_prompt = common_prefix(whole, encode(document, question, answer));
    look_up.n_document = static_cast<int64_t>(common_prefix(whole, encode(document, "", "")));
    look_up.prompt.assign(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n_prompt));
    look_up.number_ids.assign(whole.begin() + static_cast<ptrdiff_t>(n_prompt), whole.end());
    if (look_up.number_ids.empty())
      throw Error(ErrorKind::kUsage, "--look-up-answer: the chat template leaves out the number after it");
    return whole.size() <= window_;
  }

  static std::string in(const std::string& form, const LookUp& look_up) {
    return filled_in(form, kSubject, look_up.subject);
  }

  std::vector<int32_t> encode(const std::string& document, const std::string& question,
                              const std::string& answer) const {
    if (template_) {
      ChatPrompt prompt({{"user", document + "\n" + question}, {"assistant", answer}});
      prompt.kwargs = options_.chat_template.kwargs;
      prompt.continue_final_message = true;
      return tokenizer_.encode_chat(prompt, template_.get(), {-1, throw_if_interrupted});
    }
    const std::string text = document + "\n" + question + (question.empty() ? "" : " ") + answer;
    std::vector<int32_t> ids = tokenizer_.encode(text, false, false, {-1, throw_if_interrupted});
    if (tokenizer_.info().adds_bos) ids.insert(ids.begin(), tokenizer_.bos_id());
    return ids;
  }

  void shorten(std::string& stretch, const LookUp& look_up) const {
    const size_t surplus = look_up.prompt.size() + look_up.number_ids.size() - window_;
    size_t length = stretch.size();
    length -= std::min(length, static_cast<size_t>(std::ceil(token_bytes_ * static_cast<double>(surplus))));
    while (length > 0 && !begins_character(stretch[length])) --length;
    if (length == 0)
      throw Error(ErrorKind::kUsage, "a window of " + std::to_string(window_) +
                                         " tokens has no room for a look-up; give a larger --window, or "
                                         "--look-ups 0");
    stretch.resize(length);
  }

  const LookUpOptions& options_;
  const std::string& text_;
  size_t window_;
  const Tokenizer& tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  double token_bytes_ = 0.0;  // bytes of a token, on average
  std::vector<std::string> subjects_;
};

}  // namespace

void LookUpOptions::add_to(Args& args) {
  args.value("--look-ups", "N", "10",
             "plant a sentence with a number in N stretches of the text, each at another depth, and ask for "
             "it at the end; 0 for none",
             into(n, 0, 100000));
  args.value("-s,--seed", "N", "0", "of the look-ups' stretches, subjects, numbers and depths",
             into(seed, 0));
  args.value("--look-up-fact", "TEXT", "'" + fact + "'",
             "the planted sentence; {subject} is a word, {number} has five digits", into(fact));
  args.value("--look-up-question", "TEXT", "'" + question + "'", "what is asked after the text",
             into(question));
  args.value("--look-up-answer", "TEXT", "'" + answer + "'",
             "how the answer begins, after which the number must come", into(answer));
  chat_template.add_to(args, "none: text, question and answer follow one another");
}

void LookUpOptions::check() const {
  if (fact.find(kNumber) == std::string::npos || fact.find(kSubject) == std::string::npos)
    throw Error(ErrorKind::kUsage,
                "--look-up-fact: expected a sentence with {subject} and {number}, found '" + fact + "'");
  if ((question + answer).find(kNumber) != std::string::npos)
    throw Error(ErrorKind::kUsage, "--look-up-question and --look-up-answer: {number} would give it away");
  if ((question + answer).find(kSubject) == std::string::npos)
    throw Error(
        ErrorKind::kUsage,
        "--look-up-question or --look-up-answer: expected {subject}, which says whose number is asked "
        "for");
}

std::vector<LookUp> make_look_ups(const LookUpOptions& options, const std::string& text, int64_t n_tokens,
                                  int64_t window, const Tokenizer& tokenizer) {
  const LookUpMaker maker(options, text, n_tokens, window, tokenizer);
  Draw draw(options.seed);
  const auto n = static_cast<size_t>(options.n);
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  std::vector<LookUp> look_ups;
  look_ups.reserve(n);
  for (const size_t place : order)
    look_ups.push_back(
        maker.make(draw, (static_cast<double>(place) + draw.share()) / static_cast<double>(n)));
  return look_ups;
}

LookUpResult ask(const LookUp& look_up, const RulePair& rule, bool decodes, Session& session,
                 StatusLine& line) {
  const std::vector<int32_t>& number = look_up.number_ids;
  const auto n_prompt = static_cast<int64_t>(look_up.prompt.size());
  bool found = true;
  EvaluateRequest request;
  request.tokens = look_up.prompt;
  request.tokens.insert(request.tokens.end(), number.begin(), number.end() - 1);
  request.n_prompt = decodes ? std::max<int64_t>(look_up.n_document, 1) : n_prompt;
  request.sparse = rule.prompt;
  request.head_factors = rule.head_factors;
  request.sparse_decode = rule.decode;
  request.n_last_logits = static_cast<int64_t>(number.size());
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t row = 0; row < n_rows; ++row, logits += n_vocab) {
      const auto likeliest = std::max_element(logits, logits + n_vocab) - logits;
      found = found && likeliest == number[static_cast<size_t>(position + row + 1 - n_prompt)];
    }
    return !interrupted();
  };
  request.on_progress = [&](const PrefillProgress& progress) {
    line.update("look-up " + look_up.number + " " + rule.to_string() + ", " + describe(progress));
    return !interrupted();
  };
  throw_if_interrupted();
  const RequestStats stats = session.evaluate(request);
  throw_if_interrupted();
  return {found, 1e-9 * static_cast<double>(stats.prefill_ns)};
}

}  // namespace seer::cli
