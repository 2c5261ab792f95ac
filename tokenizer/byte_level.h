// GPT-2's alphabet: every byte as a printable character, so that a vocabulary is readable text.
#pragma once

#include <string>
#include <string_view>

namespace seer {

// A printable character for each byte.
std::string byte_level_piece(std::string_view bytes);
// The bytes a piece stands for; characters outside the alphabet stand for themselves.
std::string bytes_of_byte_level(std::string_view piece);

}  // namespace seer
