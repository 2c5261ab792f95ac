// The normalizer of a tokenizer.json, which changes a text before it is split into words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "tokenizer/normal_form.h"
#include "tokenizer/regex.h"
#include "tokenizer/text_bound.h"

namespace seer {

// A Normalizer is immutable, and many threads may use it.
class Normalizer {
 public:
  // Reads the normalizer: NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace (of a string or of a regular
  // expression), Strip, or a Sequence of them. If it is absent or null, apply() changes nothing. `path` names
  // the file in messages. Throws Error{kUnsupported} that names any other type, and Error{kFile} if the
  // normalizer is malformed.
  Normalizer(const Json& tokenizer, const std::string& path);
  // Returns the changed text. An empty text stays empty, and bytes that are not UTF-8 stay as they are.
  // `continues` says that the text follows another, so that nothing is put in front of it. If `begins` is not
  // null, *begins becomes false if the beginning of the text is dropped. Throws Error{kUnsupported} that
  // names the step after which the text would exceed both 64 KiB and 16 times its first length; no normal
  // form makes any text grow so much.
  std::string apply(std::string_view text, bool continues = false, bool* begins = nullptr) const;
  void restrict(TextBound* bound) const;  // tells `bound` how much text the steps may remove
  bool changes_nothing() const { return steps_.empty(); }
  // Returns text for messages: "NFC", "Prepend, Replace" or "none".
  std::string description() const;

 private:
  enum class Kind { kForm, kLowercase, kPrepend, kReplace, kStrip };
  struct Step {
    Kind kind;
    std::string type;  // the name in the file
    NormalForm form{};
    std::string pattern, content;
    std::shared_ptr<const Regex> regex;  // set for a Replace without a string
    bool left = false, right = false;    // the ends that Strip strips
  };
  void add(const Json& node, const std::string& path);
  // Both return whether the beginning of the text is dropped. `max_bytes` is the largest size that the text
  // may grow to.
  bool replace(const Step& step, size_t max_bytes, std::string* text) const;
  static bool strip(const Step& step, std::string* text);
  [[noreturn]] void fail_growth(const Step& step, size_t max_bytes) const;
  std::string path_;
  std::vector<Step> steps_;
};

}  // namespace seer
