// A picture in memory, its few drawing operations, and the file it becomes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seer::cli {

struct Color {
  uint8_t r, g, b;
};

inline constexpr int64_t kGlyphWidth = 6,
                         kGlyphHeight = 7;  // pixels of a character, the gap after it included

class Canvas {
 public:
  Canvas(int64_t width, int64_t height);  // white
  int64_t width() const { return width_; }
  int64_t height() const { return height_; }

  // Cut where they leave the canvas. x to the right, y downwards.
  void fill(int64_t x, int64_t y, int64_t width, int64_t height, Color color);
  // Letters, digits and .,%=-_/+ ; capitals are drawn small, anything else is a blank.
  void text(int64_t x, int64_t y, const std::string& text, Color color);

  // 8-bit RGB. Throws Error{kRuntime} with the system's reason; a file that was there then stays as it was.
  void write_png(const std::string& path) const;

 private:
  int64_t width_, height_;
  std::vector<uint8_t> rgb_;  // [height, width, 3]
};

// From dark (0) to light (1), its lightness rising evenly. Values outside are clamped.
Color heat(double value);

}  // namespace seer::cli
