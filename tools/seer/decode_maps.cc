#include "tools/seer/decode_maps.h"

#include <algorithm>
#include <filesystem>

#include "seer/error.h"
#include "tools/seer/format.h"
#include "tools/seer/map_panels.h"

namespace seer::cli {
namespace {

constexpr int64_t kPanel = 256;  // the fewest pixels of a panel's side, so that the label above it fits

std::string sizes_of(const DecodeSummary& layer, int64_t block_tokens) {
  return "block = " + std::to_string(block_tokens) +
         format(" tokens, cell = %lld %s x %lld %s", static_cast<long long>(layer.cell_tokens()),
                layer.cell_tokens() == 1 ? "token" : "tokens", static_cast<long long>(layer.cell_blocks()),
                layer.cell_blocks() == 1 ? "block" : "blocks");
}

// Maps are seldom square, so each direction has a scale of its own.
class LayerPicture {
 public:
  LayerPicture(const DecodeSummary& layer, int64_t first)
      : layer_(layer),
        first_(first),
        scale_x_(scale_of(layer.n_columns())),
        scale_y_(scale_of(layer.n_rows())),
        n_columns_(std::min(layer.n_heads(), kMaxMapColumns)),
        grid_{layer.n_columns() * scale_x_, layer.n_rows() * scale_y_, n_columns_,
              2 * ((layer.n_heads() + n_columns_ - 1) / n_columns_), true} {}

  Canvas draw(const std::string& title, int64_t block_tokens) const {
    const std::vector<const Scale*> scales = {&kKeptScale, &kScoreScale};
    const std::string sizes = sizes_of(layer_, block_tokens);
    Canvas canvas = grid_.canvas(draw_heading(nullptr, title, sizes, scales));
    draw_heading(&canvas, title, sizes, scales);
    for (int64_t head = 0; head < layer_.n_heads(); ++head) {
      const DecodeMap& map = layer_.map(head);
      const int64_t column = head % n_columns_, row = 2 * (head / n_columns_);
      const std::string name = "KV head " + std::to_string(head);
      draw_panel(
          canvas, column, row, name + "  kept " + percent(layer_.density(head)), map, [&](size_t cell) {
            return mask_color(static_cast<double>(map.kept[cell]) / static_cast<double>(map.all[cell]));
          });
      draw_panel(canvas, column, row + 1, name + "  score", map,
                 [&](size_t cell) { return heat(score_shade(map.score[cell])); });
    }
    return canvas;
  }

 private:
  static int64_t scale_of(int64_t n_cells) { return std::max<int64_t>(1, (kPanel + n_cells - 1) / n_cells); }

  template <class Paint>
  void draw_panel(Canvas& canvas, int64_t column, int64_t row, const std::string& label, const DecodeMap& map,
                  const Paint& paint) const {
    const int64_t x = grid_.x(column), y = grid_.y(row);
    for (int64_t i = 0; i < layer_.n_rows(); ++i)
      for (int64_t j = 0; j < layer_.n_columns(); ++j) {
        const auto cell = static_cast<size_t>(i * layer_.n_columns() + j);
        if (map.all[cell] == 0) continue;  // all of the cell's blocks come after its tokens
        canvas.fill(x + j * scale_x_, y + i * scale_y_, scale_x_, scale_y_, paint(cell));
      }
    draw_frame(canvas, grid_, column, row, label,
               {"decoded token", ticks(layer_.n_tokens(), first_, scale_y_, layer_.cell_tokens())},
               {"key block", ticks(layer_.n_blocks(), 0, scale_x_, layer_.cell_blocks())});
  }

  static std::vector<Axis::Tick> ticks(int64_t n, int64_t first, int64_t scale, int64_t cell) {
    std::vector<Axis::Tick> list;
    for (const int64_t at : {int64_t{0}, n / 2, n})
      list.push_back({scale * at / cell, std::to_string(first + at)});
    return list;
  }

  const DecodeSummary& layer_;
  int64_t first_, scale_x_, scale_y_, n_columns_;
  Grid grid_;
};

}  // namespace

int64_t write_decode_maps(const std::string& dir, const std::string& title, int64_t first,
                          int64_t block_tokens, const std::vector<DecodeSummary>& layers) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) throw Error(ErrorKind::kRuntime, "cannot make the folder " + dir + ": " + error.message());
  int64_t n_files = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].empty()) continue;
    const std::string heading = format("layer %zu, ", i) + title + ", kept " + percent(layers[i].density());
    LayerPicture(layers[i], first)
        .draw(heading, block_tokens)
        .write_png(dir + format("/decode-layer-%02zu.png", i));
    ++n_files;
  }
  return n_files;
}

}  // namespace seer::cli
