// UTF-8 one character at a time (Unicode 15, table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace seer {

struct Utf8Step {
  enum class Kind {
    kCharacter,  // `size` bytes are one well-formed character
    kTruncated,  // the text ends within a character whose first `size` bytes are fine
    kInvalid,    // `size` bytes (at least 1) cannot begin a character: the maximal subpart, to be replaced by
                 // one U+FFFD
  };
  Kind kind;
  size_t size;
};

// Classifies the beginning of `text`, which must not be empty.
Utf8Step utf8_step(std::string_view text);

// Returns how many bytes from the beginning of the text are well-formed characters; all of them if it is
// UTF-8.
size_t utf8_prefix(std::string_view text);

// Returns the code point of one well-formed character.
int32_t utf8_point(std::string_view character);

}  // namespace seer
