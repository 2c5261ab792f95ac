#include "tokenizer/splitting.h"

#include <algorithm>
#include <array>

#include "tokenizer/utf8.h"

namespace seer {
namespace {

void add_match(size_t begin, size_t end, std::vector<Span>* spans, size_t* done) {
  if (begin > *done) spans->push_back({*done, begin, false});
  spans->push_back({begin, end, true});
  *done = end;
}

// Joins each match to the span before it, but not to another match.
void merge_with_previous(std::vector<Span>* spans) {
  size_t n = 0;
  bool after_match = false;
  for (const Span span : *spans) {
    if (span.match && !after_match && n > 0) {
      (*spans)[n - 1].end = span.end;
    } else {
      (*spans)[n++] = span;
    }
    after_match = span.match;
  }
  spans->resize(n);
}

void merge_with_next(std::vector<Span>* spans) {
  std::vector<Span> merged;
  bool before_match = false;
  for (auto span = spans->rbegin(); span != spans->rend(); ++span) {
    if (span->match && !before_match && !merged.empty()) {
      merged.back().begin = span->begin;
    } else {
      merged.push_back(*span);
    }
    before_match = span->match;
  }
  spans->assign(merged.rbegin(), merged.rend());
}

void merge_equals(std::vector<Span>* spans) {
  size_t n = 0;
  for (const Span span : *spans) {
    if (n > 0 && (*spans)[n - 1].match == span.match) {
      (*spans)[n - 1].end = span.end;
    } else {
      (*spans)[n++] = span;
    }
  }
  spans->resize(n);
}

}  // namespace

void find_string(std::string_view text, std::string_view pattern, std::vector<Span>* spans) {
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, done))
    add_match(at, at + pattern.size(), spans, &done);
  if (done < text.size()) spans->push_back({done, text.size(), false});
}

void find_characters(std::string_view text, const std::function<bool(int32_t)>& matches,
                     std::vector<Span>* spans) {
  // Most characters are ASCII, for which neither decoding nor tables of Unicode are needed.
  std::array<bool, 128> ascii{};
  if (text.size() > ascii.size())
    for (int32_t c = 0; c < 128; ++c) ascii[static_cast<size_t>(c)] = matches(c);
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 128) {
      if (text.size() > ascii.size() ? ascii[byte] : matches(byte)) add_match(at, at + 1, spans, &done);
      ++at;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(at));
    const bool character = step.kind == Utf8Step::Kind::kCharacter;
    if (character && matches(utf8_point(text.substr(at, step.size))))
      add_match(at, at + step.size, spans, &done);
    at += step.size;
  }
  if (done < text.size()) spans->push_back({done, text.size(), false});
}

void divide(std::string_view text, Behavior behavior, std::vector<Span>* spans,
            std::vector<std::string_view>* parts) {
  if (behavior == Behavior::kMergedWithPrevious) merge_with_previous(spans);
  if (behavior == Behavior::kMergedWithNext) merge_with_next(spans);
  if (behavior == Behavior::kContiguous) merge_equals(spans);
  for (const Span& span : *spans) {
    if (span.begin == span.end || (span.match && behavior == Behavior::kRemoved)) continue;
    parts->push_back(text.substr(span.begin, span.end - span.begin));
  }
}

}  // namespace seer
