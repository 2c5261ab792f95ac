// A picture in memory, its few drawing operations, and the PNG file that it becomes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seer::cli {

struct Color {
  uint8_t r, g, b;
};

inline constexpr int64_t kGlyphWidth = 6,
                         kGlyphHeight = 7;  // pixels of a character, including the gap after it

class Canvas {
 public:
  Canvas(int64_t width, int64_t height);  // all white
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }

  // x counts to the right, y downwards. Parts outside the canvas are cut off.
  void fill(int64_t x, int64_t y, int64_t width, int64_t height, Color color);
  // Draws letters, digits and .,%=-_/+ ; capitals are drawn small, and any other character is a blank. Each
  // pixel of a character is a square of `size` pixels.
  void text(int64_t x, int64_t y, const std::string& text, Color color, int64_t size = 1);
  // Draws the same, turned to the left: it begins at the bottom, at (x, y), and goes up.
  void text_upwards(int64_t x, int64_t y, const std::string& text, Color color, int64_t size = 1);

  // Writes 8-bit RGB. Throws Error{kRuntime} with the system's reason; a file that was there before then
  // stays as it was.
  void write_png(const std::string& path) const;

 private:
  template <class Dot>
  static void draw_glyphs(const std::string& text, const Dot& dot);

  int64_t width_, height_;
  std::vector<uint8_t> rgb_;  // [height, width, 3]
};

// Returns a colour from dark (0) to light (1) whose lightness rises evenly. Values outside are clamped.
Color heat(double value);

}  // namespace seer::cli
