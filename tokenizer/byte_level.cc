#include "tokenizer/byte_level.h"

#include <array>
#include <charconv>

#include "tokenizer/utf8.h"

namespace seer {
namespace {

constexpr int kFirstSubstitute = 0x100;

// Printable Latin-1 stands for itself. The other 68 bytes have the code points from U+0100 on, in order.
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

std::optional<std::string> bytes_of_byte_level(std::string_view piece) {
  std::string bytes;
  while (!piece.empty()) {
    const Utf8Step step = utf8_step(piece);
    if (step.kind != Utf8Step::Kind::kCharacter) return std::nullopt;
    const int32_t point = utf8_point(piece.substr(0, step.size));
    const bool known = point < static_cast<int32_t>(kBytes.size()) && kBytes[static_cast<size_t>(point)] >= 0;
    if (!known) return std::nullopt;
    bytes += static_cast<char>(kBytes[static_cast<size_t>(point)]);
    piece.remove_prefix(step.size);
  }
  return bytes;
}

int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  return error == std::errc() && end == piece.data() + 5 ? byte : -1;
}

}  // namespace seer
