// Tokens that stand for bytes: GPT-2's alphabet, in which every byte is a printable character so that a
// vocabulary is readable text, and pieces such as "<0x0A>".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace seer {

// A printable character for each byte.
std::string byte_level_piece(std::string_view bytes);
// The bytes that a piece stands for; absent if it has a character outside of the alphabet.
std::optional<std::string> bytes_of_byte_level(std::string_view piece);
// The byte that a piece such as "<0x0A>" stands for; -1 for any other piece.
int byte_of_piece(std::string_view piece);

}  // namespace seer
