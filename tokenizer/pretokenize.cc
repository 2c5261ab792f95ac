#include "tokenizer/pretokenize.h"

#include <algorithm>
#include <iterator>

#include "seer/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/json_file.h"
#include "tokenizer/json_node.h"
#include "tokenizer/regex.h"

namespace seer {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, the visible space of SentencePiece

// GPT-2's words (Radford et al., 2019), which ByteLevel splits by unless it says use_regex false.
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
  virtual void split(std::string_view word, std::vector<std::string_view>* parts) const = 0;
};

namespace {

constexpr const char* kKnown =
    "expected Split (by a Regex, behavior Isolated), ByteLevel, Digits, Metaspace or a Sequence of them";

}  // namespace

Pretokenizer::Pretokenizer(const nlohmann::json& tokenizer, const std::string& path) {
  const auto it = tokenizer.find("pre_tokenizer");
  if (it != tokenizer.end() && !it->is_null()) add(*it, path + ": pre_tokenizer");
}

Pretokenizer::~Pretokenizer() = default;

void Pretokenizer::add(const nlohmann::json& node, const std::string& path) {
  const std::string type = node_type(node, path);
  if (type == "Sequence") {
    for (const nlohmann::json& part : node_list(node, "pretokenizers", path)) add(part, path);
  } else if (type == "Split") {
    if (json_string(node, "behavior", path).value_or("") != "Isolated" ||
        json_bool(node, "invert", false, path))
      throw Error(ErrorKind::kUnsupported,
                  path + ": Split with another behavior than Isolated is not supported");
    const std::string pattern = node_pattern(node, "Regex", path);
    add_regex(pattern, path);
    name_regex(pattern);
  } else if (type == "ByteLevel") {
    const bool prefixed = json_bool(node, "add_prefix_space", false, path);
    if (byte_level_ || (prefixed && !steps_.empty()))
      throw Error(
          ErrorKind::kUnsupported,
          path + ": " +
              (byte_level_ ? "a second ByteLevel" : "ByteLevel with add_prefix_space after other steps") +
              " is not supported; expected one ByteLevel, without a prefix unless it comes first");
    byte_level_ = true;
    if (prefixed) prefix_ = Prefix::kAlways;
    if (json_bool(node, "use_regex", true, path)) {
      add_regex(kGpt2, path);
      name_regex(kGpt2);
    }
  } else if (type == "Digits") {
    const bool single = json_bool(node, "individual_digits", false, path);
    add_regex(single ? "\\p{N}" : "\\p{N}+", path);
    names_.emplace_back(single ? "single digits" : "digits");
  } else if (type == "Metaspace") {
    add_metaspace(node, path);
  } else {
    throw Error(ErrorKind::kUnsupported, path + ": type '" + type + "' is not supported; " + kKnown);
  }
}

void Pretokenizer::add_regex(const std::string& pattern, const std::string& path) {
  class RegexStep final : public Step {
   public:
    RegexStep(const std::string& p, const std::string& origin) : regex_(p, origin) {}
    void split(std::string_view word, std::vector<std::string_view>* parts) const override {
      regex_.split(word, parts);
    }

   private:
    Regex regex_;
  };
  steps_.push_back(std::make_unique<RegexStep>(pattern, path));
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

void Pretokenizer::add_metaspace(const nlohmann::json& node, const std::string& path) {
  // A word begins at every visible space.
  class MetaspaceStep final : public Step {
   public:
    void split(std::string_view word, std::vector<std::string_view>* parts) const override {
      size_t begin = 0;
      for (size_t at = word.find(kSpace, 1); at != std::string_view::npos; at = word.find(kSpace, at + 1)) {
        parts->push_back(word.substr(begin, at - begin));
        begin = at;
      }
      if (begin < word.size()) parts->push_back(word.substr(begin));
    }
  };
  metaspace_ = true;
  if (json_string(node, "replacement", path).value_or(std::string(kSpace)) != kSpace)
    throw Error(ErrorKind::kUnsupported,
                path + ": a Metaspace replacement other than U+2581 is not supported");
  const bool add_prefix = json_bool(node, "add_prefix_space", true, path);  // the older spelling
  const std::string scheme =
      json_string(node, "prepend_scheme", path).value_or(add_prefix ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw Error(ErrorKind::kFile,
                path + ": expected prepend_scheme to be always, first or never, found " + scheme);
  prefix_ = scheme == "always" ? Prefix::kAlways : scheme == "first" ? Prefix::kFirst : Prefix::kNever;
  if (!json_bool(node, "split", true, path)) return;
  steps_.push_back(std::make_unique<MetaspaceStep>());
  names_.emplace_back("spaces");
}

std::string Pretokenizer::prefix(std::string_view text, bool first) const {
  std::string out(text);
  if (metaspace_) replace_all(&out, " ", kSpace);
  const std::string_view space = metaspace_ ? kSpace : " ";
  const bool wanted = prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && first);
  if (wanted && !out.empty() && !out.starts_with(space)) out.insert(0, space);
  return out;
}

void Pretokenizer::split(std::string_view text, std::vector<std::string_view>* words) const {
  std::vector<std::string_view> parts = {text};
  for (const auto& step : steps_) {
    std::vector<std::string_view> next;
    for (const std::string_view part : parts) step->split(part, &next);
    parts = std::move(next);
  }
  words->insert(words->end(), parts.begin(), parts.end());
}

std::string Pretokenizer::description() const {
  std::string text;
  if (n_unnamed_ > 0)
    text = std::to_string(n_unnamed_) + (n_unnamed_ == 1 ? " regular expression" : " regular expressions");
  for (const std::string& name : names_) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

}  // namespace seer
