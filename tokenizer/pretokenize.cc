#include "tokenizer/pretokenize.h"

#include "seer/error.h"
#include "tokenizer/json_file.h"
#include "tokenizer/regex.h"

namespace seer {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, the visible space of SentencePiece

// GPT-2's words (Radford et al., 2019), which ByteLevel splits by unless it says use_regex false.
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string type_of(const nlohmann::json& node, const std::string& path) {
  if (!node.is_object()) throw Error(ErrorKind::kFile, path + ": expected an object with a type");
  const auto type = json_string(node, "type", path);
  if (!type) throw Error(ErrorKind::kFile, path + ": an object has no type");
  return *type;
}

const nlohmann::json& list_of(const nlohmann::json& node, const char* key, const std::string& path) {
  const auto it = node.find(key);
  if (it == node.end() || !it->is_array())
    throw Error(ErrorKind::kFile, path + ": expected " + key + " to be a list");
  return *it;
}

// "pattern": {"String": " "} or {"Regex": "..."}.
std::string pattern_of(const nlohmann::json& node, const char* kind, const std::string& path) {
  const auto it = node.find("pattern");
  const auto text = it != node.end() && it->is_object() ? json_string(*it, kind, path) : std::nullopt;
  if (!text || text->empty())
    throw Error(ErrorKind::kUnsupported,
                path + ": " + type_of(node, path) + " needs a pattern of kind " + kind);
  return *text;
}

void replace_all(std::string* text, std::string_view pattern, std::string_view content) {
  std::string out;
  size_t done = 0;
  for (size_t at = text->find(pattern); at != std::string::npos; at = text->find(pattern, done)) {
    out.append(*text, done, at - done).append(content);
    done = at + pattern.size();
  }
  *text = out.append(*text, done, std::string::npos);
}

}  // namespace

Normalizer::Normalizer(const nlohmann::json& tokenizer, const std::string& path) {
  const auto it = tokenizer.find("normalizer");
  if (it != tokenizer.end() && !it->is_null()) add(*it, path + ": normalizer");
}

void Normalizer::add(const nlohmann::json& node, const std::string& path) {
  const std::string type = type_of(node, path);
  if (type == "Sequence") {
    for (const nlohmann::json& part : list_of(node, "normalizers", path)) add(part, path);
  } else if (type == "Prepend") {
    steps_.push_back({"", json_string(node, "prepend", path).value_or("")});
  } else if (type == "Replace") {
    steps_.push_back({pattern_of(node, "String", path), json_string(node, "content", path).value_or("")});
  } else {
    throw Error(
        ErrorKind::kUnsupported,
        path + ": type '" + type + "' is not supported; expected Prepend, Replace or a Sequence of them");
  }
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  if (out.empty()) return out;
  for (const Step& step : steps_) {
    if (step.pattern.empty()) {
      out.insert(0, step.content);
    } else {
      replace_all(&out, step.pattern, step.content);
    }
  }
  return out;
}

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
  const std::string type = type_of(node, path);
  if (type == "Sequence") {
    for (const nlohmann::json& part : list_of(node, "pretokenizers", path)) add(part, path);
  } else if (type == "Split") {
    if (json_string(node, "behavior", path).value_or("") != "Isolated" ||
        json_bool(node, "invert", false, path))
      throw Error(ErrorKind::kUnsupported,
                  path + ": Split with another behavior than Isolated is not supported");
    add_regex(pattern_of(node, "Regex", path), path);
  } else if (type == "ByteLevel") {
    byte_level_ = true;
    if (json_bool(node, "add_prefix_space", false, path)) prefix_ = Prefix::kAlways;
    if (json_bool(node, "use_regex", true, path)) add_regex(kGpt2, path);
  } else if (type == "Digits") {
    add_regex(json_bool(node, "individual_digits", false, path) ? "\\p{N}" : "\\p{N}+", path);
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
  if (json_bool(node, "split", true, path)) steps_.push_back(std::make_unique<MetaspaceStep>());
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

}  // namespace seer
