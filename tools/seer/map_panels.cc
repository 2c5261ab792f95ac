#include "tools/seer/map_panels.h"

#include <algorithm>
#include <cmath>

#include "tools/seer/format.h"

namespace seer::cli {
namespace {

constexpr Color kFaint = {150, 150, 160};
constexpr Color kDropped = {233, 233, 238};
constexpr Color kKept = {28, 60, 130};
constexpr int64_t kGap = 16;
constexpr int64_t kLine = kGlyphHeight + 7;  // pixels of a line of text
constexpr int64_t kHeading = 3 * kLine + 5;  // of the lines at the top
constexpr int64_t kScaleWidth = 96;          // of a scale's colours
// The room to the left of a panel and below it, for ticks, their numbers and the axis's name.
constexpr int64_t kAxisLeft = 4 * kGlyphWidth + 4 + kGlyphHeight + 6;
constexpr int64_t kAxisBelow = 6 + kGlyphHeight + 4 + kGlyphHeight;

int64_t width_of(const std::string& text) { return static_cast<int64_t>(text.size()) * kGlyphWidth; }

int64_t width_of(const Scale& scale) {
  return width_of(scale.before) + width_of(scale.after) + kScaleWidth + 2 * kGlyphWidth;
}

}  // namespace

const Scale kKeptScale = {"blocks kept  0%", "100%", mask_color};
const Scale kScoreScale = {"gate score, logarithmic  0.0001", "1", heat};

double score_shade(double score) { return score > 0.0 ? 1.0 + std::log10(score) / 4.0 : 0.0; }

Color mask_color(double kept) {
  const auto mix = [&](uint8_t from, uint8_t to) {
    return static_cast<uint8_t>(std::lround(from + std::clamp(kept, 0.0, 1.0) * (to - from)));
  };
  return {mix(kDropped.r, kKept.r), mix(kDropped.g, kKept.g), mix(kDropped.b, kKept.b)};
}

int64_t Grid::x(int64_t column) const {
  const int64_t pitch = width + kGap + (axes_at_each ? kAxisLeft : 0);
  return kMapMargin + kAxisLeft + column * pitch;
}

int64_t Grid::y(int64_t row) const {
  const int64_t pitch = height + kGap + kGlyphHeight + 5 + (axes_at_each ? kAxisBelow : 0);
  return kMapMargin + kHeading + row * pitch + kGlyphHeight + 5;
}

Canvas Grid::canvas(size_t n_letters) const {
  // The last number of an axis sticks out.
  const int64_t panels = x(n_columns - 1) + width + 2 * kGlyphWidth;
  const int64_t text = kMapMargin + static_cast<int64_t>(n_letters) * kGlyphWidth;
  return {std::max(panels, text) + kMapMargin, y(n_rows - 1) + height + kAxisBelow + kMapMargin};
}

void draw_frame(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, const std::string& label,
                const Axis& left, const Axis& below) {
  const int64_t x = grid.x(column), y = grid.y(row), width = grid.width, height = grid.height;
  canvas.text(x, y - kGlyphHeight - 5, label, kInk);
  canvas.fill(x - 1, y, 1, height + 1, kFaint);
  canvas.fill(x - 1, y + height, width + 1, 1, kFaint);
  for (const Axis::Tick& tick : left.ticks) {
    canvas.fill(x - 4, y + tick.at, 3, 1, kFaint);
    if (grid.has_left_axis(column))
      canvas.text(x - 5 - width_of(tick.number), std::max(y + tick.at - kGlyphHeight / 2, y), tick.number,
                  kInk);
  }
  for (const Axis::Tick& tick : below.ticks) {
    canvas.fill(x + tick.at, y + height + 1, 1, 3, kFaint);
    if (grid.has_lower_axis(row))
      canvas.text(tick.at == 0 ? x : x + tick.at - width_of(tick.number) / 2, y + height + 6, tick.number,
                  kInk);
  }
  if (grid.has_left_axis(column))
    canvas.text_upwards(x - kAxisLeft + 2, y + (height + width_of(left.name)) / 2, left.name, kInk);
  if (grid.has_lower_axis(row))
    canvas.text(x + (width - width_of(below.name)) / 2, y + height + 6 + kGlyphHeight + 4, below.name, kInk);
}

size_t draw_heading(Canvas* canvas, const std::string& title, const std::string& sizes,
                    const std::vector<const Scale*>& scales) {
  int64_t x = kMapMargin;
  for (const Scale* scale : scales) {
    if (canvas != nullptr) {
      const int64_t y = kMapMargin + 2 * kLine, left = x + width_of(scale->before) + kGlyphWidth;
      canvas->text(x, y, scale->before, kInk);
      for (int64_t i = 0; i < kScaleWidth; ++i)
        canvas->fill(left + i, y, 1, kGlyphHeight,
                     scale->color(static_cast<double>(i) / static_cast<double>(kScaleWidth - 1)));
      canvas->text(left + kScaleWidth + kGlyphWidth, y, scale->after, kInk);
    }
    x += width_of(*scale) + 4 * kGlyphWidth;
  }
  if (canvas != nullptr) {
    canvas->text(kMapMargin, kMapMargin, title, kInk);
    canvas->text(kMapMargin, kMapMargin + kLine, sizes, kInk);
  }
  return std::max({title.size(), sizes.size(), static_cast<size_t>((x - kMapMargin) / kGlyphWidth)});
}

std::string percent(double share) { return format("%.1f%%", 100.0 * share); }

}  // namespace seer::cli
