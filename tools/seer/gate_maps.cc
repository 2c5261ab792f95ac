#include "tools/seer/gate_maps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "seer/error.h"
#include "tools/seer/canvas.h"
#include "tools/seer/format.h"

namespace seer::cli {
namespace {

constexpr Color kInk = {40, 40, 48};
constexpr Color kFaint = {150, 150, 160};
constexpr Color kDropped = {233, 233, 238};
constexpr Color kKept = {28, 60, 130};
constexpr int64_t kMargin = 12, kGap = 16;
constexpr int64_t kLine = kGlyphHeight + 7;  // pixels of a line of text
constexpr int64_t kHeading = 3 * kLine + 5;  // of the lines at the top
constexpr int64_t kScale = 96;               // of a scale's colours
// The room to the left of a panel and below it, for ticks, their numbers and the axis's name.
constexpr int64_t kAxisLeft = 4 * kGlyphWidth + 4 + kGlyphHeight + 6;
constexpr int64_t kAxisBelow = 6 + kGlyphHeight + 4 + kGlyphHeight;
constexpr int64_t kMaxColumns = 8;

// Softmaxed scores span decades, so the shade is logarithmic. A score of 0.0001 is the dark end.
double score_shade(double score) { return score > 0.0 ? 1.0 + std::log10(score) / 4.0 : 0.0; }

Color mask_color(double kept) {
  const auto mix = [&](uint8_t from, uint8_t to) {
    return static_cast<uint8_t>(std::lround(from + std::clamp(kept, 0.0, 1.0) * (to - from)));
  };
  return {mix(kDropped.r, kKept.r), mix(kDropped.g, kKept.g), mix(kDropped.b, kKept.b)};
}

// Panels of one size in a grid, below three lines of text. Each has a label above it. Numbers and names of
// the axes are at every panel, or at those of the left column and the bottom row alone.
struct Grid {
  int64_t side;   // in cells
  int64_t scale;  // pixels for each cell
  int64_t n_columns, n_rows;
  bool axes_at_each;

  int64_t panel() const { return side * scale; }
  int64_t pitch_x() const { return panel() + kGap + (axes_at_each ? kAxisLeft : 0); }
  int64_t pitch_y() const { return panel() + kGap + kGlyphHeight + 5 + (axes_at_each ? kAxisBelow : 0); }
  int64_t x(int64_t column) const { return kMargin + kAxisLeft + column * pitch_x(); }
  int64_t y(int64_t row) const { return kMargin + kHeading + row * pitch_y() + kGlyphHeight + 5; }
  bool has_left_axis(int64_t column) const { return axes_at_each || column == 0; }
  bool has_lower_axis(int64_t row) const { return axes_at_each || row == n_rows - 1; }
  // `n_letters` is the length of the longest line of text.
  Canvas canvas(size_t n_letters) const {
    const int64_t width =
        x(n_columns - 1) + panel() + 2 * kGlyphWidth;  // the last number of an axis sticks out
    const int64_t text = kMargin + static_cast<int64_t>(n_letters) * kGlyphWidth;
    return {std::max(width, text) + kMargin, y(n_rows - 1) + panel() + kAxisBelow + kMargin};
  }
};

int64_t width_of(const std::string& text) { return static_cast<int64_t>(text.size()) * kGlyphWidth; }

// Draws the axes of the panel in this column and row. `tick(block)` returns how many pixels from the panel's
// edge a block begins.
template <class Tick>
void draw_axes(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, int64_t n_blocks,
               const Tick& tick) {
  const int64_t x = grid.x(column), y = grid.y(row), panel = grid.panel();
  canvas.fill(x - 1, y, 1, panel + 1, kFaint);
  canvas.fill(x - 1, y + panel, panel + 1, 1, kFaint);
  for (const int64_t block : {int64_t{0}, n_blocks / 2, n_blocks}) {
    const int64_t at = tick(block);
    const std::string number = std::to_string(block);
    const int64_t width = width_of(number);
    canvas.fill(x - 4, y + at, 3, 1, kFaint);
    canvas.fill(x + at, y + panel + 1, 1, 3, kFaint);
    if (grid.has_left_axis(column))
      canvas.text(x - 5 - width, std::max(y + at - kGlyphHeight / 2, y), number, kInk);
    if (grid.has_lower_axis(row))
      canvas.text(block == 0 ? x : x + at - width / 2, y + panel + 6, number, kInk);
  }
  static const std::string kLeft = "query block", kBelow = "key block";
  if (grid.has_left_axis(column))
    canvas.text_upwards(x - kAxisLeft + 2, y + (panel + width_of(kLeft)) / 2, kLeft, kInk);
  if (grid.has_lower_axis(row))
    canvas.text(x + (panel - width_of(kBelow)) / 2, y + panel + 6 + kGlyphHeight + 4, kBelow, kInk);
}

template <class Paint>
void draw_panel(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, const std::string& label,
                const BlockMap& map, const GateSummary& layer, const Paint& paint) {
  const int64_t x = grid.x(column);
  const int64_t y = grid.y(row);
  canvas.text(x, y - kGlyphHeight - 5, label, kInk);
  for (int64_t i = 0; i < map.side; ++i)
    for (int64_t j = 0; j <= i; ++j)
      canvas.fill(x + j * grid.scale, y + i * grid.scale, grid.scale, grid.scale,
                  paint(static_cast<size_t>(i * map.side + j)));
  draw_axes(canvas, grid, column, row, layer.n_blocks(),
            [&](int64_t block) { return grid.scale * block / layer.cell_blocks(); });
}

// A line that names a scale: "blocks kept 0% [colours] 100%".
struct Scale {
  std::string before, after;
  Color (*color)(double share);

  int64_t width() const { return width_of(before) + width_of(after) + kScale + 2 * kGlyphWidth; }
};

const Scale kKeptScale = {"blocks kept  0%", "100%", mask_color};
const Scale kScoreScale = {"gate score, logarithmic  0.0001", "1", heat};

// Writes the three lines at the top, and returns the letters of the longest line if `canvas` is null.
size_t draw_heading(Canvas* canvas, const std::string& title, const GateSummary& layer, int64_t block_tokens,
                    const std::vector<const Scale*>& scales) {
  const std::string cell = std::to_string(layer.cell_blocks());
  const std::string sizes = "block = " + std::to_string(block_tokens) + " tokens, cell = " + cell + " x " +
                            cell + (layer.cell_blocks() == 1 ? " block" : " blocks");
  int64_t x = kMargin;
  for (const Scale* scale : scales) {
    if (canvas != nullptr) {
      const int64_t y = kMargin + 2 * kLine, left = x + width_of(scale->before) + kGlyphWidth;
      canvas->text(x, y, scale->before, kInk);
      for (int64_t i = 0; i < kScale; ++i)
        canvas->fill(left + i, y, 1, kGlyphHeight,
                     scale->color(static_cast<double>(i) / static_cast<double>(kScale - 1)));
      canvas->text(left + kScale + kGlyphWidth, y, scale->after, kInk);
    }
    x += scale->width() + 4 * kGlyphWidth;
  }
  if (canvas != nullptr) {
    canvas->text(kMargin, kMargin, title, kInk);
    canvas->text(kMargin, kMargin + kLine, sizes, kInk);
  }
  return std::max({title.size(), sizes.size(), static_cast<size_t>((x - kMargin) / kGlyphWidth)});
}

std::string percent(double share) { return format("%.1f%%", 100.0 * share); }

Canvas draw_layer(const std::string& title, int64_t block_tokens, const GateSummary& layer) {
  const int64_t side = layer.map(0).side;
  const int64_t n_columns = std::min(layer.n_heads(), kMaxColumns);
  const int64_t n_bands = (layer.n_heads() + n_columns - 1) / n_columns;
  const Grid grid = {side, std::max<int64_t>(1, 256 / side), n_columns, 2 * n_bands, true};
  const std::vector<const Scale*> scales = {&kKeptScale, &kScoreScale};
  Canvas canvas = grid.canvas(draw_heading(nullptr, title, layer, block_tokens, scales));
  draw_heading(&canvas, title, layer, block_tokens, scales);
  for (int64_t head = 0; head < layer.n_heads(); ++head) {
    const BlockMap& map = layer.map(head);
    const int64_t column = head % n_columns;
    const int64_t row = 2 * (head / n_columns);
    const std::string name = "head " + std::to_string(head);
    draw_panel(canvas, grid, column, row, name + "  kept " + percent(layer.density(head)), map, layer,
               [&](size_t cell) { return mask_color(map.kept[cell]); });
    draw_panel(canvas, grid, column, row + 1, name + "  score", map, layer,
               [&](size_t cell) { return heat(score_shade(map.score[cell])); });
  }
  return canvas;
}

Canvas draw_overview(const std::string& title, int64_t block_tokens, const std::vector<GateSummary>& layers) {
  const int64_t side = layers.front().map(0).side;
  const Grid grid = {side, std::max<int64_t>(1, 128 / side), layers.front().n_heads(),
                     static_cast<int64_t>(layers.size()), false};
  const std::string heading = title + ", labels = layer.head and blocks kept";
  Canvas canvas = grid.canvas(draw_heading(nullptr, heading, layers.front(), block_tokens, {&kKeptScale}));
  draw_heading(&canvas, heading, layers.front(), block_tokens, {&kKeptScale});
  for (size_t i = 0; i < layers.size(); ++i)
    for (int64_t head = 0; head < layers[i].n_heads(); ++head) {
      const BlockMap& map = layers[i].map(head);
      draw_panel(canvas, grid, head, static_cast<int64_t>(i),
                 format("%zu.%lld ", i, static_cast<long long>(head)) + percent(layers[i].density(head)), map,
                 layers[i], [&](size_t cell) { return mask_color(map.kept[cell]); });
    }
  return canvas;
}

// Returns the map in `size` rows and columns, each the largest value or the mean of its cells.
std::vector<double> shrink(const std::vector<float>& cells, int64_t side, int64_t size, bool largest) {
  std::vector<double> out(static_cast<size_t>(size * size), 0.0);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0.0;
      double most = 0.0;
      int64_t n = 0;
      for (int64_t r = i * side / size; r < std::max((i + 1) * side / size, i * side / size + 1); ++r)
        for (int64_t c = j * side / size; c < std::max((j + 1) * side / size, j * side / size + 1); ++c) {
          if (c > r) continue;
          const double value = cells[static_cast<size_t>(r * side + c)];
          sum += value;
          most = std::max(most, value);
          ++n;
        }
      out[static_cast<size_t>(i * size + j)] =
          largest ? most : sum / static_cast<double>(std::max<int64_t>(n, 1));
    }
  }
  return out;
}

std::string escape(int plane, Color color) {
  return format("\033[%d;2;%d;%d;%dm", plane, color.r, color.g, color.b);
}

// Each character shows two cells: the upper half in the foreground's colour, the lower half in the
// background's.
template <class Paint>
std::string half_blocks(int64_t size, int64_t row, const Paint& paint) {
  std::string text;
  for (int64_t j = 0; j < size; ++j) {
    const bool upper = j <= row;
    const bool lower = row + 1 < size && j <= row + 1;
    if (!upper && !lower) {
      text += "\033[0m ";
      continue;
    }
    text += "\033[0m" + escape(38, paint(upper ? row : row + 1, j));
    if (upper && lower) text += escape(48, paint(row + 1, j));
    text += upper ? "▀" : "▄";
  }
  return text + "\033[0m";
}

// A character is twice as high as wide, so each stands for two rows here too.
std::string shades(const std::vector<double>& values, int64_t size, int64_t row) {
  static const std::string kShades = " .:-=+*#%@";
  std::string text;
  for (int64_t j = 0; j < size; ++j) {
    const int64_t last = std::min(row + 1, size - 1);
    double value = values[static_cast<size_t>(row * size + j)];
    value = j <= row ? (value + values[static_cast<size_t>(last * size + j)]) / 2.0
                     : values[static_cast<size_t>(last * size + j)];
    const auto n = static_cast<double>(kShades.size() - 1);
    // Causal cells never look like those that are not causal.
    const double shade = std::clamp(std::ceil(value * n), 0.0, n);
    text += j > last ? ' ' : shade == 0.0 ? '.' : kShades[static_cast<size_t>(shade)];
  }
  return text;
}

}  // namespace

int64_t write_maps(const std::string& dir, const std::string& title, int64_t block_tokens,
                   const std::vector<GateSummary>& layers) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw Error(ErrorKind::kRuntime, "cannot make the folder " + dir + ": " + error.message());
  draw_overview(title, block_tokens, layers).write_png(dir + "/overview.png");
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string heading = format("layer %zu, ", i) + title + ", kept " + percent(layers[i].density());
    draw_layer(heading, block_tokens, layers[i]).write_png(dir + format("/layer-%02zu.png", i));
  }
  return static_cast<int64_t>(layers.size()) + 1;
}

std::string draw_map(const BlockMap& map, int64_t width, bool color) {
  const int64_t size = std::clamp<int64_t>((width - 2) / 2, 1, std::max<int64_t>(map.side, 1));
  const std::vector<double> kept = shrink(map.kept, map.side, size, false);
  std::vector<double> score = shrink(map.score, map.side, size, true);
  for (double& value : score) value = std::clamp(score_shade(value), 0.0, 1.0);
  const auto at = [&](int64_t i, int64_t j) { return static_cast<size_t>(i * size + j); };
  std::string text;
  for (int64_t row = 0; row < size; row += 2) {
    std::string line;
    if (color) {
      line = half_blocks(size, row, [&](int64_t i, int64_t j) { return mask_color(kept[at(i, j)]); }) + "  " +
             half_blocks(size, row, [&](int64_t i, int64_t j) { return heat(score[at(i, j)]); });
    } else {
      line = shades(kept, size, row) + "  " + shades(score, size, row);
      line.erase(line.find_last_not_of(' ') + 1);
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace seer::cli
