// Divides a text at the matches of a pattern (SplitDelimiterBehavior of the tokenizers package).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace seer {

// A part of a text in bytes: a match, or the text between two. A match may be empty.
struct Span {
  size_t begin, end;
  bool match;
};

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Appends the spans of `text`, with nothing left out. Each occurrence of `pattern` is a match.
void find_string(std::string_view text, std::string_view pattern, std::vector<Span>* spans);
// Does the same with a match for each character whose code point `matches` accepts. A byte that is not UTF-8
// is no match.
void find_characters(std::string_view text, const std::function<bool(int32_t)>& matches,
                     std::vector<Span>* spans);

// Divides `text` and appends its parts, none of which is empty. Changes `spans`.
void divide(std::string_view text, Behavior behavior, std::vector<Span>* spans,
            std::vector<std::string_view>* parts);

}  // namespace seer
