#include "tools/seer/gate_maps.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "seer/error.h"
#include "tools/seer/canvas.h"
#include "tools/seer/format.h"
#include "tools/seer/map_panels.h"

namespace seer::cli {
namespace {

// Returns the words after the title: the sizes of a block and of a map's cell.
std::string sizes_of(const GateSummary& layer, int64_t block_tokens) {
  const std::string cell = std::to_string(layer.cell_blocks());
  return "block = " + std::to_string(block_tokens) + " tokens, cell = " + cell + " x " + cell +
         (layer.cell_blocks() == 1 ? " block" : " blocks");
}

template <class Paint>
void draw_panel(Canvas& canvas, const Grid& grid, int64_t column, int64_t row, const std::string& label,
                const BlockMap& map, const GateSummary& layer, const Paint& paint) {
  const int64_t x = grid.x(column), y = grid.y(row), scale = grid.width / map.side;
  for (int64_t i = 0; i < map.side; ++i)
    for (int64_t j = 0; j <= i; ++j)
      canvas.fill(x + j * scale, y + i * scale, scale, scale, paint(static_cast<size_t>(i * map.side + j)));
  std::vector<Axis::Tick> ticks;
  for (const int64_t block : {int64_t{0}, layer.n_blocks() / 2, layer.n_blocks()})
    ticks.push_back({scale * block / layer.cell_blocks(), std::to_string(block)});
  draw_frame(canvas, grid, column, row, label, {"query block", ticks}, {"key block", ticks});
}

Canvas draw_layer(const std::string& title, int64_t block_tokens, const GateSummary& layer) {
  const int64_t side = layer.map(0).side, panel = side * std::max<int64_t>(1, 256 / side);
  const int64_t n_columns = std::min(layer.n_heads(), kMaxMapColumns);
  const int64_t n_bands = (layer.n_heads() + n_columns - 1) / n_columns;
  const Grid grid = {panel, panel, n_columns, 2 * n_bands, true};
  const std::vector<const Scale*> scales = {&kKeptScale, &kScoreScale};
  const std::string sizes = sizes_of(layer, block_tokens);
  Canvas canvas = grid.canvas(draw_heading(nullptr, title, sizes, scales));
  draw_heading(&canvas, title, sizes, scales);
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
  const int64_t side = layers.front().map(0).side, panel = side * std::max<int64_t>(1, 128 / side);
  const Grid grid = {panel, panel, layers.front().n_heads(), static_cast<int64_t>(layers.size()), false};
  const std::string heading = title + ", labels = layer.head and blocks kept";
  const std::string sizes = sizes_of(layers.front(), block_tokens);
  Canvas canvas = grid.canvas(draw_heading(nullptr, heading, sizes, {&kKeptScale}));
  draw_heading(&canvas, heading, sizes, {&kKeptScale});
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
