#include "tokenizer/jinja/text.h"

#include <algorithm>

#include "tokenizer/jinja/meter.h"
#include "tokenizer/utf8.h"

namespace seer::jinja {

void TextBuilder::grow(size_t n) {
  Meter::text(text_.size() + n);
  Meter::touch(n);
}

void TextBuilder::append(std::string_view bytes, bool from_messages) {
  const size_t begin = text_.size();
  append(bytes);
  if (!from_messages || bytes.empty()) return;
  if (!text_.runs.empty() && text_.runs.back().second == begin) {
    text_.runs.back().second = text_.size();
  } else {
    text_.runs.emplace_back(begin, text_.size());
  }
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  const size_t to = text_.size();
  append(std::string_view(text.bytes).substr(begin, end - begin));
  if (text.runs.empty() || begin == end) return;
  auto run = std::upper_bound(text.runs.begin(), text.runs.end(), begin,
                              [](size_t at, const auto& r) { return at < r.second; });
  for (; run != text.runs.end() && run->first < end; ++run) {
    const size_t first = std::max(run->first, begin) - begin + to;
    const size_t last = std::min(run->second, end) - begin + to;
    if (!text_.runs.empty() && text_.runs.back().second == first) {
      text_.runs.back().second = last;
    } else {
      text_.runs.emplace_back(first, last);
    }
  }
}

void TextBuilder::fill(std::string_view bytes, size_t n_times) {
  for (size_t i = 0; i < n_times; ++i) append(bytes);
}

Text cut(const Text& text, size_t begin, size_t end) {
  TextBuilder builder;
  builder.append(text, begin, end);
  return builder.take();
}

bool from_messages(const Text& text, size_t begin, size_t end) {
  if (begin >= end || text.runs.empty()) return false;
  const auto run = std::upper_bound(text.runs.begin(), text.runs.end(), begin,
                                    [](size_t at, const auto& r) { return at < r.second; });
  return run != text.runs.end() && run->first < end;
}

size_t count_points(std::string_view bytes) {
  Meter::touch(bytes.size());
  return static_cast<size_t>(std::count_if(
      bytes.begin(), bytes.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

size_t byte_of_point(std::string_view bytes, size_t point) {
  size_t at = 0;
  for (; point > 0 && at < bytes.size(); --point) at += point_size(bytes[at]);
  Meter::touch(at);
  return std::min(at, bytes.size());
}

int32_t point_at(std::string_view bytes, size_t at) {
  return utf8_point(bytes.substr(at, point_size(bytes[at])));
}

size_t point_before(std::string_view bytes, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<unsigned char>(bytes[at]) & 0xC0) == 0x80);
  return at;
}

void append_point(std::string* bytes, int32_t point) {
  const auto put = [&](int32_t byte) { bytes->push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0 | (point >> 6));
    put(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    put(0xE0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  } else {
    put(0xF0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3F));
    put(0x80 | ((point >> 6) & 0x3F));
    put(0x80 | (point & 0x3F));
  }
}

}  // namespace seer::jinja
