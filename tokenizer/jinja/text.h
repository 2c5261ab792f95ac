// Strings that know which of their bytes were written by messages. All are valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace seer::jinja {

struct Text {
  std::string bytes;
  // The byte ranges that messages wrote: half-open, in order, not empty, not touching one another.
  std::vector<std::pair<size_t, size_t>> runs;

  size_t size() const { return bytes.size(); }
  std::string_view view() const { return bytes; }
};

// Builds a Text. Throws what Meter::text and Meter::touch throw.
class TextBuilder {
 public:
  // Appends bytes that the template wrote.
  void append(std::string_view bytes) {
    grow(bytes.size());
    text_.bytes.append(bytes);
  }
  void append(char c) { append(std::string_view(&c, 1)); }
  void append(std::string_view bytes, bool from_messages);
  void append(const Text& text) { append(text, 0, text.size()); }
  // Appends the bytes [begin, end) of `text`.
  void append(const Text& text, size_t begin, size_t end);
  void fill(std::string_view bytes, size_t n_times);

  size_t size() const { return text_.size(); }
  const Text& text() const { return text_; }
  Text take() { return std::move(text_); }

 private:
  void grow(size_t n);

  Text text_;
};

Text cut(const Text& text, size_t begin, size_t end);
// Returns whether messages wrote any byte of [begin, end). An empty range counts as the template's.
bool from_messages(const Text& text, size_t begin, size_t end);
inline bool from_messages(const Text& text) { return !text.runs.empty(); }

// Returns the number of characters (code points) in UTF-8.
size_t count_points(std::string_view bytes);
// Returns the byte at which character number `point` begins, or the size of `bytes` if there are fewer
// characters.
size_t byte_of_point(std::string_view bytes, size_t point);
// Returns how many bytes the character has that begins with `lead`.
inline size_t point_size(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}
// Returns the character that begins at byte `at`.
int32_t point_at(std::string_view bytes, size_t at);
// Returns the byte at which the character before byte `at` begins; `at` must not be 0.
size_t point_before(std::string_view bytes, size_t at);
void append_point(std::string* bytes, int32_t point);

}  // namespace seer::jinja
