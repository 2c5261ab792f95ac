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
constexpr int64_t kAxis = 4 * kGlyphWidth + 4;  // room for a tick and its number, to the left of a panel and
                                                // below it
constexpr int64_t kMaxColumns = 8;

// Softmaxed scores span decades, so the shade is logarithmic. A score of 0.0001 is the dark end.
double score_shade(double score) { return score > 0.0 ? 1.0 + std::log10(score) / 4.0 : 0.0; }

Color mask_color(double kept) {
  const auto mix = [&](uint8_t from, uint8_t to) {
    return static_cast<uint8_t>(std::lround(from + std::clamp(kept, 0.0, 1.0) * (to - from)));
  };
  return {mix(kDropped.r, kKept.r), mix(kDropped.g, kKept.g), mix(kDropped.b, kKept.b)};
}

// Panels of one size in a grid. Each has a label above and, if there is room, numbered axes.
struct Grid {
  int64_t side;   // in cells
  int64_t scale;  // pixels for each cell
  int64_t n_columns, n_rows;
  bool axes;

  int64_t panel() const { return side * scale; }
  int64_t left_room() const { return axes ? kAxis : 0; }
  int64_t pitch_x() const { return panel() + kGap + left_room(); }
  int64_t pitch_y() const { return panel() + kGap + kGlyphHeight + 5 + (axes ? kGlyphHeight + 6 : 0); }
  int64_t x(int64_t column) const { return kMargin + left_room() + column * pitch_x(); }
  int64_t y(int64_t row) const { return top() + row * pitch_y() + kGlyphHeight + 5; }
  int64_t top() const { return kMargin + kGlyphHeight + 12; }
  Canvas canvas() const {
    const int64_t width = kMargin * 2 + n_columns * pitch_x() - kGap + (axes ? kGlyphWidth * 2 : 0);
    return {std::max<int64_t>(width, 420), top() + n_rows * pitch_y() - kGap + kMargin};
  }
};

void draw_axes(Canvas& canvas, int64_t x, int64_t y, int64_t panel, int64_t n_blocks) {
  canvas.fill(x - 1, y, 1, panel + 1, kFaint);
  canvas.fill(x - 1, y + panel, panel + 1, 1, kFaint);
  for (const int64_t block : {int64_t{0}, n_blocks / 2, n_blocks}) {
    const int64_t at = panel * block / std::max<int64_t>(n_blocks, 1);
    const std::string number = std::to_string(block);
    const int64_t width = static_cast<int64_t>(number.size()) * kGlyphWidth;
    canvas.fill(x - 4, y + at, 3, 1, kFaint);
    canvas.text(x - 5 - width, std::max(y + at - kGlyphHeight / 2, y), number, kInk);
    canvas.fill(x + at, y + panel + 1, 1, 3, kFaint);
    canvas.text(block == 0 ? x : x + at - width / 2, y + panel + 6, number, kInk);
  }
}

template <class Paint>
void draw_panel(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, const std::string& label,
                const BlockMap& map, int64_t n_blocks, const Paint& paint) {
  const int64_t x = grid.x(column);
  const int64_t y = grid.y(row);
  canvas.text(x, y - kGlyphHeight - 5, label, kInk);
  for (int64_t i = 0; i < map.side; ++i)
    for (int64_t j = 0; j <= i; ++j)
      canvas.fill(x + j * grid.scale, y + i * grid.scale, grid.scale, grid.scale,
                  paint(static_cast<size_t>(i * map.side + j)));
  if (grid.axes) draw_axes(canvas, x, y, grid.panel(), n_blocks);
}

std::string percent(double share) { return format("%.1f%%", 100.0 * share); }

Canvas draw_layer(const std::string& title, const GateSummary& layer) {
  const int64_t side = layer.map(0).side;
  const int64_t n_columns = std::min(layer.n_heads(), kMaxColumns);
  const int64_t n_bands = (layer.n_heads() + n_columns - 1) / n_columns;
  const Grid grid = {side, std::max<int64_t>(1, 256 / side), n_columns, 2 * n_bands, true};
  Canvas canvas = grid.canvas();
  canvas.text(kMargin, kMargin, title, kInk);
  for (int64_t head = 0; head < layer.n_heads(); ++head) {
    const BlockMap& map = layer.map(head);
    const int64_t column = head % n_columns;
    const int64_t row = 2 * (head / n_columns);
    const std::string name = "head " + std::to_string(head);
    draw_panel(canvas, grid, column, row, name + "  kept " + percent(layer.density(head)), map,
               layer.n_blocks(), [&](size_t cell) { return mask_color(map.kept[cell]); });
    draw_panel(canvas, grid, column, row + 1, name + "  score", map, layer.n_blocks(),
               [&](size_t cell) { return heat(score_shade(map.score[cell])); });
  }
  // The scale of the scores is drawn in the empty triangle above the diagonal of the last head's panel.
  const int64_t length = std::min<int64_t>(96, grid.panel() / 2);
  const int64_t x = grid.x((layer.n_heads() - 1) % n_columns) + grid.panel() - length;
  const int64_t y = grid.y(2 * n_bands - 1) + 4;
  for (int64_t i = 0; i < length; ++i)
    canvas.fill(x + i, y, 1, 6, heat(static_cast<double>(i) / static_cast<double>(length - 1)));
  canvas.text(x, y + 10, "0.0001", kInk);
  canvas.text(x + length - kGlyphWidth, y + 10, "1", kInk);
  return canvas;
}

Canvas draw_overview(const std::string& title, const std::vector<GateSummary>& layers) {
  const int64_t side = layers.front().map(0).side;
  const Grid grid = {side, std::max<int64_t>(1, 128 / side), layers.front().n_heads(),
                     static_cast<int64_t>(layers.size()), false};
  Canvas canvas = grid.canvas();
  canvas.text(kMargin, kMargin, title, kInk);
  for (size_t i = 0; i < layers.size(); ++i)
    for (int64_t head = 0; head < layers[i].n_heads(); ++head) {
      const BlockMap& map = layers[i].map(head);
      draw_panel(canvas, grid, head, static_cast<int64_t>(i),
                 format("%zu.%lld ", i, static_cast<long long>(head)) + percent(layers[i].density(head)), map,
                 layers[i].n_blocks(), [&](size_t cell) { return mask_color(map.kept[cell]); });
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

int64_t write_maps(const std::string& dir, const std::string& title, const std::vector<GateSummary>& layers) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw Error(ErrorKind::kRuntime, "cannot make the folder " + dir + ": " + error.message());
  draw_overview(title, layers).write_png(dir + "/overview.png");
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string heading = format("layer %zu, ", i) + title + ", kept " + percent(layers[i].density()) +
                                ", query blocks down, key blocks right";
    draw_layer(heading, layers[i]).write_png(dir + format("/layer-%02zu.png", i));
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
