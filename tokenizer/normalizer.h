// The normalizer of a tokenizer.json, which changes a text before it is split into words.
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
  // Reads the normalizer: NFC, NFD, NFKC, NFKD, Prepend, Replace (of a string), or a Sequence of them. If it
  // is absent or null, apply() changes nothing. `path` names the file in messages. Throws Error{kUnsupported}
  // that names any other type, and Error{kFile} if the normalizer is malformed.
  Normalizer(const nlohmann::json& tokenizer, const std::string& path);
  // Returns the changed text. An empty text stays empty, and bytes that are not UTF-8 stay as they are.
  // `continues` says that the text follows another, so that nothing is put in front of it.
  std::string apply(std::string_view text, bool continues = false) const;
  bool changes_nothing() const { return steps_.empty(); }
  // Returns text for messages: "NFC", "Prepend, Replace" or "none".
  std::string description() const;

 private:
  enum class Kind { kForm, kPrepend, kReplace };
  struct Step {
    Kind kind;
    std::string type;  // the name in the file
    NormalForm form{};
    std::string pattern, content;
  };
  void add(const nlohmann::json& node, const std::string& path);
  std::vector<Step> steps_;
};

}  // namespace seer
