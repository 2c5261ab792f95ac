// Tokens that stand for bytes. In GPT-2's alphabet every byte is a printable character, so that a vocabulary
// is readable text; other vocabularies have pieces such as "<0x0A>".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace seer {

// Returns a printable character for each byte.
std::string byte_level_piece(std::string_view bytes);
// Returns the bytes that a piece stands for, or nothing if it has a character outside of the alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view piece);
// Returns the byte that a piece such as "<0x0A>" stands for, or -1 for any other piece.
int byte_of_piece(std::string_view piece);

}  // namespace seer
