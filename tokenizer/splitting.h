// How a text is divided at what a pattern matches (SplitDelimiterBehavior of the tokenizers package).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace seer {

// A part of a text in bytes: a match, or what lies between two. A match may be empty.
struct Span {
  size_t begin, end;
  bool match;
};

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Appends the spans of `text`, which leave nothing out, where each occurrence of `pattern` is a match.
void find_string(std::string_view text, std::string_view pattern, std::vector<Span>* spans);
// Where each character is a match of whose code point `matches` is true. A byte that is not UTF-8 is none.
void find_characters(std::string_view text, const std::function<bool(int32_t)>& matches,
                     std::vector<Span>* spans);

// Appends the parts, none of them empty, that `text` is divided into. `spans` are changed.
void divide(std::string_view text, Behavior behavior, std::vector<Span>* spans,
            std::vector<std::string_view>* parts);

}  // namespace seer
