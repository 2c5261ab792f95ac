// What the pictures of gate maps share: panels in a grid with axes, scales of colours, and the lines at the
// top.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/seer/canvas.h"

namespace seer::cli {

inline constexpr Color kInk = {40, 40, 48};
inline constexpr int64_t kMapMargin = 12;
inline constexpr int64_t kMaxMapColumns = 8;  // of panels in a layer's picture

// Softmaxed scores span decades, so the shade is logarithmic. A score of 0.0001 is the dark end.
double score_shade(double score);
Color mask_color(double kept);

// A line that names a scale: "blocks kept 0% [colours] 100%".
struct Scale {
  std::string before, after;
  Color (*color)(double share);
};
extern const Scale kKeptScale, kScoreScale;

// Panels of one size in a grid, below three lines of text. Each panel has a label above it. The numbers and
// names of axes are at every panel, or only at the panels of the left column and of the bottom row.
struct Grid {
  int64_t width, height;  // of a panel, in pixels
  int64_t n_columns, n_rows;
  bool axes_at_each;

  int64_t x(int64_t column) const;
  int64_t y(int64_t row) const;
  bool has_left_axis(int64_t column) const { return axes_at_each || column == 0; }
  bool has_lower_axis(int64_t row) const { return axes_at_each || row == n_rows - 1; }
  // `n_letters` is the length of the longest line of text.
  Canvas canvas(size_t n_letters) const;
};

struct Axis {
  struct Tick {
    int64_t at;  // pixels from the panel's edge
    std::string number;
  };
  std::string name;
  std::vector<Tick> ticks;
};

// Draws the label above the panel in this column and row, and its axes.
void draw_frame(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, const std::string& label,
                const Axis& left, const Axis& below);

// Writes the three lines at the top if `canvas` is not null. Returns how many letters the longest of them
// has.
size_t draw_heading(Canvas* canvas, const std::string& title, const std::string& sizes,
                    const std::vector<const Scale*>& scales);

std::string percent(double share);  // "12.3%"

}  // namespace seer::cli
