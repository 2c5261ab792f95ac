// The normalizer of a tokenizer.json: changes of a text before it is split into words.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normal_form.h"

namespace seer {

// Immutable; safe from many threads.
class Normalizer {
 public:
  // NFC, NFD, NFKC, NFKD, Prepend, Replace (of a string) and Sequence of them; absent or null: none. Throws
  // Error{kUnsupported} naming another type, Error{kFile} where it is malformed.
  Normalizer(const nlohmann::json& tokenizer, const std::string& path);
  // An empty text stays empty. Bytes that are not UTF-8 stay as they are.
  std::string apply(std::string_view text) const;
  bool changes_nothing() const { return steps_.empty(); }
  std::string description() const;  // for people: "NFC", "Prepend, Replace", "none"

 private:
  enum class Kind { kForm, kPrepend, kReplace };
  struct Step {
    Kind kind;
    std::string type;  // as the file names it
    NormalForm form{};
    std::string pattern, content;
  };
  void add(const nlohmann::json& node, const std::string& path);
  std::vector<Step> steps_;
};

}  // namespace seer
