#include "tokenizer/byte_level.h"

#include <array>

#include "tokenizer/utf8.h"

namespace seer {
namespace {

constexpr int kFirstSubstitute = 0x100;

// Printable Latin-1 stands for itself; the other 68 bytes take the code points from U+0100 on, in order.
constexpr std::array<int, 256> kCodePoints = [] {
  std::array<int, 256> points{};
  int substitute = kFirstSubstitute;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    points[static_cast<size_t>(b)] = printable ? b : substitute++;
  }
  return points;
}();

constexpr std::array<int, 512> kBytes = [] {
  std::array<int, 512> bytes{};
  for (int& b : bytes) b = -1;
  for (int b = 0; b < 256; ++b) bytes[static_cast<size_t>(kCodePoints[static_cast<size_t>(b)])] = b;
  return bytes;
}();

}  // namespace

std::string byte_level_piece(std::string_view bytes) {
  std::string piece;
  for (const char c : bytes) {
    const int point = kCodePoints[static_cast<unsigned char>(c)];
    if (point < 0x80) {
      piece += static_cast<char>(point);
    } else {
      piece += static_cast<char>(0xC0 | (point >> 6));
      piece += static_cast<char>(0x80 | (point & 0x3F));
    }
  }
  return piece;
}

std::string bytes_of_byte_level(std::string_view piece) {
  std::string bytes;
  while (!piece.empty()) {
    const std::string_view c = piece.substr(0, utf8_step(piece).size);
    piece.remove_prefix(c.size());
    int point = static_cast<unsigned char>(c[0]);
    if (c.size() == 2) point = ((point & 0x1F) << 6) | (static_cast<unsigned char>(c[1]) & 0x3F);
    const bool known =
        c.size() <= 2 && point < static_cast<int>(kBytes.size()) && kBytes[static_cast<size_t>(point)] >= 0;
    if (known) {
      bytes += static_cast<char>(kBytes[static_cast<size_t>(point)]);
    } else {
      bytes += c;
    }
  }
  return bytes;
}

}  // namespace seer
