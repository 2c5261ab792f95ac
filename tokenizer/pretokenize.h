// The pre_tokenizer of a tokenizer.json: a text becomes the words that merges may not cross.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

// Immutable; safe from many threads.
class Pretokenizer {
 public:
  // Split by a regular expression (isolated), ByteLevel, Digits, Metaspace and Sequence of them; absent or
  // null: the text is one word. Throws Error{kUnsupported} naming
  // another type, Error{kFile} where it is malformed.
  Pretokenizer(const nlohmann::json& tokenizer, const std::string& path);
  ~Pretokenizer();

  bool byte_level() const { return byte_level_; }
  // Whether a text's first word gets a space in front (ByteLevel's add_prefix_space, Metaspace's
  // prepend_scheme). `first`: no added token comes before the text.
  std::string prefix(std::string_view text, bool first) const;
  void split(std::string_view text, std::vector<std::string_view>* words) const;
  // For people: "Qwen2 pattern", "5 regular expressions, single digits", "none".
  std::string description() const;

 private:
  class Step;
  void add(const nlohmann::json& node, const std::string& path);
  void add_regex(const std::string& pattern, const std::string& path);
  void name_regex(const std::string& pattern);
  void add_metaspace(const nlohmann::json& node, const std::string& path);

  enum class Prefix { kNever, kFirst, kAlways };
  std::vector<std::unique_ptr<Step>> steps_;
  bool byte_level_ = false;
  bool metaspace_ = false;
  Prefix prefix_ = Prefix::kNever;
  std::vector<std::string> names_;  // of steps that have one
  int n_unnamed_ = 0;               // regular expressions without one
};

}  // namespace seer
