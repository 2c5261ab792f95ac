#include "tokenizer/pretokenize.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

#include "seer/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_file.h"
#include "tokenizer/json_node.h"
#include "tokenizer/regex.h"
#include "tokenizer/splitting.h"

namespace seer {
namespace {

// The pattern of GPT-2's words (Radford et al., 2019). ByteLevel splits by it unless use_regex is false.
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct NamedPattern {
  const char* name;
  const char* pattern;
};
constexpr NamedPattern kNamed[] = {
    {"GPT-2 pattern", kGpt2},
    {"Llama 3 pattern",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"Qwen2 pattern",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}};

}  // namespace

class Pretokenizer::Step {
 public:
  virtual ~Step() = default;
  virtual void apply(Words* words) const = 0;
};

// Divides words at the matches that `find` returns.
class Pretokenizer::Division final : public Pretokenizer::Step {
 public:
  using Find = std::function<void(std::string_view, std::vector<Span>*)>;
  Division(Find find, Behavior behavior, bool invert = false)
      : find_(std::move(find)), behavior_(behavior), invert_(invert) {}

  void apply(Words* words) const override {
    std::vector<std::string_view> parts;
    std::vector<Span> spans;
    const char* start = words->list.empty() ? nullptr : words->list[0].data();
    for (const std::string_view word : words->list) {
      spans.clear();
      find_(word, &spans);
      if (invert_)
        for (Span& span : spans) span.match = !span.match;
      divide(word, behavior_, &spans, &parts);
    }
    words->at_start = words->at_start && !parts.empty() && parts[0].data() == start;
    words->list = std::move(parts);
  }

 private:
  Find find_;
  Behavior behavior_;
  bool invert_;
};

namespace {

constexpr const char* kKnown =
    "expected BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Metaspace, Punctuation, Split, "
    "Whitespace, "
    "WhitespaceSplit or a Sequence of them";

Behavior behavior_of(const Json& node, const char* fallback, const std::string& path) {
  static const std::map<std::string, Behavior> kBehaviors = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const std::string name = json_string(node, "behavior", path).value_or(fallback);
  const auto it = kBehaviors.find(name);
  if (it == kBehaviors.end())
    throw Error(ErrorKind::kFile, path +
                                      ": expected behavior to be Removed, Isolated, MergedWithPrevious, "
                                      "MergedWithNext or Contiguous, found '" +
                                      name + "'");
  return it->second;
}

auto characters(bool (*matches)(int32_t)) {
  return
      [matches](std::string_view word, std::vector<Span>* spans) { find_characters(word, matches, spans); };
}

auto string_pattern(std::string pattern) {
  return [pattern = std::move(pattern)](std::string_view word, std::vector<Span>* spans) {
    find_string(word, pattern, spans);
  };
}

auto regex_pattern(const std::string& pattern, const std::string& path) {
  return [regex = std::make_shared<const Regex>(pattern, path)](
             std::string_view word, std::vector<Span>* spans) { regex->find(word, spans); };
}

// Finds the words of a text, and the parts that are neither word nor white space, whose spans are no matches.
void find_words(std::string_view text, std::vector<Span>* spans) {
  std::vector<Span> space, words;
  find_characters(text, is_white_space, &space);
  for (const Span& part : space) {
    if (part.match) {
      spans->push_back(part);
      continue;
    }
    words.clear();
    find_characters(text.substr(part.begin, part.end - part.begin), is_word_character, &words);
    for (size_t i = 0; i < words.size(); ++i) {
      const bool continues = i > 0 && words[i].match && words[i - 1].match;
      if (continues) {
        spans->back().end = part.begin + words[i].end;
      } else {
        spans->push_back({part.begin + words[i].begin, part.begin + words[i].end, false});
      }
    }
  }
}

}  // namespace

Pretokenizer::Pretokenizer(const Json& tokenizer, const std::string& path) {
  const auto it = tokenizer.find("pre_tokenizer");
  if (it != tokenizer.end() && !it->is_null()) add(*it, path + ": pre_tokenizer");
  if (spells_ && !spelled_) add_spelling();
}

Pretokenizer::~Pretokenizer() = default;

void Pretokenizer::add(const Json& node, const std::string& path) {
  const auto divide_at = [&](Division::Find find, Behavior behavior, const char* name) {
    steps_.push_back(std::make_unique<Division>(std::move(find), behavior));
    if (name != nullptr) names_.emplace_back(name);
  };
  const std::string type = node_type(node, path);
  if (byte_level_ && !spelled_ && type != "Sequence") add_spelling();  // this step must see spelled words
  if (type == "Sequence") {
    for (const Json& part : node_list(node, "pretokenizers", path)) add(part, path);
  } else if (type == "Split") {
    add_split(node, path);
  } else if (type == "ByteLevel") {
    add_byte_level(node, path);
  } else if (type == "Digits") {
    const bool single = json_bool(node, "individual_digits", false, path);
    divide_at(characters(is_numeric), single ? Behavior::kIsolated : Behavior::kContiguous,
              single ? "single digits" : "digits");
  } else if (type == "Metaspace") {
    add_metaspace(node, path);
  } else if (type == "Punctuation") {
    const Behavior behavior = behavior_of(node, "Isolated", path);
    divide_at(characters(is_punctuation), behavior, "punctuation");
    if (behavior == Behavior::kRemoved) bound_.drop();
  } else if (type == "Whitespace") {
    divide_at(find_words, Behavior::kRemoved, "words");
    bound_.drop_space();
  } else if (type == "WhitespaceSplit") {
    divide_at(characters(is_white_space), Behavior::kRemoved, "white space");
    bound_.drop_space();
  } else if (type == "BertPreTokenizer") {
    divide_at(characters(is_white_space), Behavior::kRemoved, "white space");
    bound_.drop_space();
    divide_at(characters(is_punctuation), Behavior::kIsolated, "punctuation");
  } else if (type == "CharDelimiterSplit") {
    const std::string delimiter = json_string(node, "delimiter", path).value_or("");
    if (delimiter.empty()) throw Error(ErrorKind::kFile, path + ": expected delimiter to be a character");
    divide_at(string_pattern(delimiter), Behavior::kRemoved, "a delimiter");
    bound_.drop();
  } else {
    throw Error(ErrorKind::kUnsupported, path + ": type '" + type + "' is not supported; " + kKnown);
  }
}

void Pretokenizer::add_split(const Json& node, const std::string& path) {
  const Behavior behavior = behavior_of(node, "", path);
  const bool invert = json_bool(node, "invert", false, path);
  if (behavior == Behavior::kRemoved) bound_.drop();
  if (has_string_pattern(node)) {
    steps_.push_back(
        std::make_unique<Division>(string_pattern(node_pattern(node, "String", path)), behavior, invert));
    names_.emplace_back("a string");
    return;
  }
  const std::string pattern = node_pattern(node, "Regex", path);
  steps_.push_back(std::make_unique<Division>(regex_pattern(pattern, path), behavior, invert));
  name_regex(pattern);
}

void Pretokenizer::add_byte_level(const Json& node, const std::string& path) {
  // Puts a space in front of a word that does not begin with one.
  class PrefixStep final : public Step {
   public:
    void apply(Words* words) const override {
      for (std::string_view& word : words->list)
        if (!word.starts_with(' ')) word = words->owned.emplace_back(" " + std::string(word));
    }
  };
  byte_level_ = true;
  spelled_ = false;
  if (json_bool(node, "add_prefix_space", false, path)) steps_.push_back(std::make_unique<PrefixStep>());
  if (json_bool(node, "use_regex", true, path)) {
    steps_.push_back(std::make_unique<Division>(regex_pattern(kGpt2, path), Behavior::kIsolated));
    name_regex(kGpt2);
  }
}

void Pretokenizer::add_spelling() {
  class SpellingStep final : public Step {
   public:
    void apply(Words* words) const override {
      for (std::string_view& word : words->list) word = words->owned.emplace_back(byte_level_piece(word));
    }
  };
  steps_.push_back(std::make_unique<SpellingStep>());
  spells_ = spelled_ = true;
}

void Pretokenizer::name_regex(const std::string& pattern) {
  const auto* known = std::find_if(std::begin(kNamed), std::end(kNamed),
                                   [&](const NamedPattern& named) { return pattern == named.pattern; });
  if (known == std::end(kNamed)) {
    ++n_unnamed_;
  } else {
    names_.emplace_back(known->name);
  }
}

void Pretokenizer::add_metaspace(const Json& node, const std::string& path) {
  enum class Prefix { kNever, kFirst, kAlways };
  // Makes spaces visible, and may put one in front of a word.
  class MetaspaceStep final : public Step {
   public:
    MetaspaceStep(std::string space, Prefix prefix) : space_(std::move(space)), prefix_(prefix) {}
    void apply(Words* words) const override {
      for (size_t i = 0; i < words->list.size(); ++i) {
        std::string word(words->list[i]);
        replace_all(&word, " ", space_);
        const bool wanted =
            prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && i == 0 && words->at_start);
        if (wanted && !word.starts_with(space_)) word.insert(0, space_);
        words->list[i] = words->owned.emplace_back(std::move(word));
      }
    }

   private:
    std::string space_;
    Prefix prefix_;
  };
  const std::string space = json_string(node, "replacement", path).value_or(std::string(kVisibleSpace));
  const bool add_prefix = json_bool(node, "add_prefix_space", true, path);  // an older name of the setting
  const std::string scheme =
      json_string(node, "prepend_scheme", path).value_or(add_prefix ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw Error(ErrorKind::kFile,
                path + ": expected prepend_scheme to be always, first or never, found " + scheme);
  const Prefix prefix = scheme == "always"  ? Prefix::kAlways
                        : scheme == "first" ? Prefix::kFirst
                                            : Prefix::kNever;
  steps_.push_back(std::make_unique<MetaspaceStep>(space, prefix));
  if (space.empty()) bound_.drop_space();
  if (!json_bool(node, "split", true, path)) return;
  steps_.push_back(std::make_unique<Division>(string_pattern(space), Behavior::kMergedWithNext));
  names_.emplace_back("spaces");
}

Words Pretokenizer::split(std::string_view text, bool first) const {
  Words words{{text}, {}, first};
  for (const auto& step : steps_) step->apply(&words);
  return words;
}

std::string Pretokenizer::description() const {
  std::string text;
  if (n_unnamed_ > 0)
    text = std::to_string(n_unnamed_) + (n_unnamed_ == 1 ? " regular expression" : " regular expressions");
  for (const std::string& name : names_) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

}  // namespace seer
