#include "tools/seer/canvas.h"

#include <png.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <memory>

#include "engine/base/output_file.h"

namespace seer::cli {
namespace {

struct Glyph {
  char c;
  uint8_t rows[kGlyphHeight];  // the leftmost of five pixels is 0x10
};

constexpr Glyph kGlyphs[] = {
    {'%', {0x19, 0x19, 0x02, 0x04, 0x08, 0x13, 0x13}}, {'+', {0x00, 0x04, 0x04, 0x1f, 0x04, 0x04, 0x00}},
    {',', {0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08}}, {'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}}, {'/', {0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10}},
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}}, {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f}}, {'3', {0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}}, {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}}, {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}}, {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'=', {0x00, 0x00, 0x1f, 0x00, 0x1f, 0x00, 0x00}}, {'_', {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1f}},
    {'a', {0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f}}, {'b', {0x10, 0x10, 0x1e, 0x11, 0x11, 0x11, 0x1e}},
    {'c', {0x00, 0x00, 0x0e, 0x10, 0x10, 0x11, 0x0e}}, {'d', {0x01, 0x01, 0x0f, 0x11, 0x11, 0x11, 0x0f}},
    {'e', {0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e}}, {'f', {0x06, 0x09, 0x08, 0x1c, 0x08, 0x08, 0x08}},
    {'g', {0x00, 0x0f, 0x11, 0x11, 0x0f, 0x01, 0x0e}}, {'h', {0x10, 0x10, 0x16, 0x19, 0x11, 0x11, 0x11}},
    {'i', {0x04, 0x00, 0x0c, 0x04, 0x04, 0x04, 0x0e}}, {'j', {0x02, 0x00, 0x06, 0x02, 0x02, 0x12, 0x0c}},
    {'k', {0x10, 0x10, 0x12, 0x14, 0x18, 0x14, 0x12}}, {'l', {0x0c, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'m', {0x00, 0x00, 0x1a, 0x15, 0x15, 0x15, 0x11}}, {'n', {0x00, 0x00, 0x16, 0x19, 0x11, 0x11, 0x11}},
    {'o', {0x00, 0x00, 0x0e, 0x11, 0x11, 0x11, 0x0e}}, {'p', {0x00, 0x00, 0x1e, 0x11, 0x1e, 0x10, 0x10}},
    {'q', {0x00, 0x00, 0x0f, 0x11, 0x0f, 0x01, 0x01}}, {'r', {0x00, 0x00, 0x16, 0x19, 0x10, 0x10, 0x10}},
    {'s', {0x00, 0x00, 0x0f, 0x10, 0x0e, 0x01, 0x1e}}, {'t', {0x08, 0x08, 0x1c, 0x08, 0x08, 0x09, 0x06}},
    {'u', {0x00, 0x00, 0x11, 0x11, 0x11, 0x13, 0x0d}}, {'v', {0x00, 0x00, 0x11, 0x11, 0x11, 0x0a, 0x04}},
    {'w', {0x00, 0x00, 0x11, 0x11, 0x15, 0x15, 0x0a}}, {'x', {0x00, 0x00, 0x11, 0x0a, 0x04, 0x0a, 0x11}},
    {'y', {0x00, 0x00, 0x11, 0x11, 0x0f, 0x01, 0x0e}}, {'z', {0x00, 0x00, 0x1f, 0x02, 0x04, 0x08, 0x1f}},
};

const Glyph* find_glyph(char c) {
  const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Glyph& glyph : kGlyphs)
    if (glyph.c == lower) return &glyph;
  return nullptr;
}

// Returns false after an error. libpng's own handlers print, and leave by longjmp; no object in between needs
// unwinding.
bool encode(std::FILE* file, int64_t width, int64_t height, const uint8_t* rgb) {
  const auto silent = [](png_structp, png_const_charp) {};
  const auto jump = [](png_structp png, png_const_charp) { png_longjmp(png, 1); };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, jump, silent);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  bool good = info != nullptr;
  // NOLINTNEXTLINE(cert-err52-cpp,modernize-avoid-setjmp-longjmp): libpng's interface
  if (good && setjmp(png_jmpbuf(png)) == 0) {
    png_init_io(png, file);
    png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < height; ++y) png_write_row(png, rgb + y * width * 3);
    png_write_end(png, nullptr);
  } else {
    good = false;
  }
  png_destroy_write_struct(&png, &info);
  return good;
}

}  // namespace

Canvas::Canvas(int64_t width, int64_t height)
    : width_(width), height_(height), rgb_(static_cast<size_t>(width * height * 3), 255) {}

void Canvas::fill(int64_t x, int64_t y, int64_t width, int64_t height, Color color) {
  const int64_t right = std::min(x + width, width_);
  const int64_t bottom = std::min(y + height, height_);
  for (int64_t row = std::max<int64_t>(y, 0); row < bottom; ++row) {
    for (int64_t column = std::max<int64_t>(x, 0); column < right; ++column) {
      uint8_t* const pixel = rgb_.data() + (row * width_ + column) * 3;
      pixel[0] = color.r;
      pixel[1] = color.g;
      pixel[2] = color.b;
    }
  }
}

// Calls dot(along, down) for each pixel of the text: along the line, and below its top.
template <class Dot>
void Canvas::draw_glyphs(const std::string& text, const Dot& dot) {
  for (size_t i = 0; i < text.size(); ++i) {
    const Glyph* const glyph = find_glyph(text[i]);
    if (glyph == nullptr) continue;
    const int64_t left = static_cast<int64_t>(i) * kGlyphWidth;
    for (int64_t row = 0; row < kGlyphHeight; ++row)
      for (int64_t column = 0; column < 5; ++column)
        if ((glyph->rows[row] & (0x10 >> column)) != 0) dot(left + column, row);
  }
}

void Canvas::text(int64_t x, int64_t y, const std::string& text, Color color, int64_t size) {
  draw_glyphs(
      text, [&](int64_t along, int64_t down) { fill(x + along * size, y + down * size, size, size, color); });
}

void Canvas::text_upwards(int64_t x, int64_t y, const std::string& text, Color color, int64_t size) {
  draw_glyphs(
      text, [&](int64_t along, int64_t down) { fill(x + down * size, y - along * size, size, size, color); });
}

void Canvas::write_png(const std::string& path) const {
  OutputFile out(path);
  errno = 0;
  const int copy = ::dup(out.fd());  // fclose closes it
  std::FILE* const file = copy < 0 ? nullptr : ::fdopen(copy, "wb");
  if (file == nullptr) out.fail_to_write();
  bool good = encode(file, width_, height_, rgb_.data());
  int reason = errno;
  if (std::fclose(file) != 0) {
    if (good) reason = errno;
    good = false;
  }
  errno = reason != 0 ? reason : ENOMEM;  // set if libpng failed and the system reported no reason
  if (!good) out.fail_to_write();
  out.finish();
}

Color heat(double value) {
  constexpr double kStops[][3] = {{13, 8, 60},    {72, 20, 110},  {140, 41, 115}, {200, 68, 90},
                                  {240, 115, 60}, {252, 180, 80}, {252, 250, 190}};
  constexpr int kLast = 6;
  const double at = std::clamp(std::isnan(value) ? 0.0 : value, 0.0, 1.0) * kLast;
  const int stop = std::min(static_cast<int>(at), kLast - 1);
  const auto mix = [&](int channel) {
    const double from = kStops[stop][channel];
    return static_cast<uint8_t>(std::lround(from + (at - stop) * (kStops[stop + 1][channel] - from)));
  };
  return {mix(0), mix(1), mix(2)};
}

}  // namespace seer::cli
