// seer inspect's view of gates: counts checked by hand, and pictures read back.
#include <png.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "seer/error.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"
#include "tools/seer/canvas.h"
#include "tools/seer/gate_maps.h"
#include "tools/seer/gate_summary.h"

namespace seer {
namespace {

using cli::GateSummary;
using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
namespace fs = std::filesystem;

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
  std::vector<int> at(int64_t x, int64_t y) const {
    const uint8_t* const pixel = rgb.data() + (y * width + x) * 3;
    return {pixel[0], pixel[1], pixel[2]};
  }
};

Image read_png(const fs::path& path) {
  png_image header = {};
  header.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&header, path.c_str()) != 0);
  header.format = PNG_FORMAT_RGB;
  Image image = {header.width, header.height, std::vector<uint8_t>(PNG_IMAGE_SIZE(header))};
  REQUIRE(png_image_finish_read(&header, nullptr, image.rgb.data(), 0, nullptr) != 0);
  return image;
}

// Four block rows, two query heads that share keys: kept blocks as '1'.
//   head 0: 1, 11, 101, 1001    head 1: 1, 01, 001, 1111
const std::vector<uint8_t> kMask = {1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1,
                                    1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 1};

GateRows rows_of(const std::vector<uint8_t>& mask, const std::vector<float>& scores, int64_t n_heads,
                 int64_t n) {
  return {0, 0, n, n_heads, n, scores.data(), mask.data()};
}

TEST_CASE("densities, shared loads and row lengths are those counted by hand") {
  const std::vector<float> scores(32, 0.25F);
  GateSummary summary(1, true, 100);
  summary.add(rows_of(kMask, scores, 2, 4));
  CHECK(summary.density(0) == Approx(7.0 / 10));
  CHECK(summary.density(1) == Approx(7.0 / 10));
  CHECK(summary.density() == Approx(14.0 / 20));
  // Pairs of rows load {0,1} and {0,2,3} for head 0, {0,1} and {0,1,2,3} for head 1: 11 loads for 14 blocks.
  CHECK(summary.shared_by_rows() == Approx(14.0 / 11));
  // The two heads together load 1, 2, 2 and 4 blocks in the four rows.
  CHECK(summary.shared_by_group() == Approx(14.0 / 9));
  CHECK(summary.shared_by_both() == Approx(14.0 / 6));
  CHECK(summary.row_length(0.5) == 1);
  CHECK(summary.row_length(1.0) == 4);
  CHECK(summary.map(0).kept[8] == 1.0F);
  CHECK(summary.map(0).kept[9] == 0.0F);
  CHECK(summary.map(0).score[9] == 0.25F);
}

TEST_CASE("rows in pieces give what they give at once, heads apart what they give alone") {
  const std::vector<float> scores(32, 0.25F);
  GateSummary whole(2, true, 2);
  whole.add(rows_of(kMask, scores, 2, 4));
  CHECK(whole.shared_by_group() == 1.0);
  GateSummary pieces(2, true, 2);
  for (int64_t row = 0; row < 4; ++row) {
    std::vector<uint8_t> mask(kMask.begin() + row * 4, kMask.begin() + row * 4 + 4);
    mask.insert(mask.end(), kMask.begin() + 16 + row * 4, kMask.begin() + 16 + row * 4 + 4);
    pieces.add({0, row, 1, 2, 4, scores.data(), mask.data()});
  }
  CHECK(pieces.shared_by_rows() == whole.shared_by_rows());
  CHECK(pieces.density() == whole.density());
  // With two blocks in a cell, the lower left cell of head 0 has 1010 of its four blocks, and a diagonal cell
  // has three causal ones.
  CHECK(pieces.map(0).side == 2);
  CHECK(pieces.map(0).kept == whole.map(0).kept);
  CHECK(pieces.map(0).kept[2] == Approx(2.0 / 4));
  CHECK(pieces.map(0).kept[0] == Approx(1.0));
  CHECK(pieces.map(0).kept[3] == Approx(2.0 / 3));
  CHECK_THROWS_AS(pieces.add(rows_of(kMask, scores, 2, 4)), Error);
}

TEST_CASE("raw scores are softmaxed over a row's causal blocks") {
  const std::vector<float> scores = {5.0F, 9.0F, 1.0F, 1.0F};
  GateSummary summary(1, false, 100);
  summary.add(rows_of({1, 0, 1, 1}, scores, 1, 2));
  CHECK(summary.map(0).score[0] == 1.0F);
  CHECK(summary.map(0).score[2] == Approx(0.5));
}

TEST_CASE("a canvas is the picture it becomes, and says so if it cannot be written") {
  const testing::TempDir dir;
  cli::Canvas canvas(5, 4);
  canvas.fill(1, 2, 100, 1, {10, 20, 30});
  canvas.fill(-3, -3, 4, 4, {1, 2, 3});
  const std::string path = (dir.path() / "a.png").string();
  canvas.write_png(path);
  const Image image = read_png(path);
  CHECK(image.width == 5);
  CHECK(image.height == 4);
  CHECK(image.at(0, 0) == std::vector<int>{1, 2, 3});
  CHECK(image.at(1, 1) == std::vector<int>{255, 255, 255});
  CHECK(image.at(4, 2) == std::vector<int>{10, 20, 30});
  CHECK_THROWS_AS(canvas.write_png("/dev/full/a.png"), Error);
  try {
    cli::Canvas(400, 400).write_png("/dev/full");
    FAIL("a full disk was not reported");
  } catch (const Error& error) {
    CHECK_THAT(error.what(), ContainsSubstring("/dev/full"));
  }
}

// Returns whether `text` stands somewhere in the image as a canvas draws it, which is of dark pixels.
bool shows(const Image& image, const std::string& text, bool upwards = false) {
  const auto length = static_cast<int64_t>(text.size()) * cli::kGlyphWidth;
  const int64_t width = upwards ? cli::kGlyphHeight : length;
  const int64_t height = upwards ? length : cli::kGlyphHeight;
  cli::Canvas canvas(width, height);
  if (upwards) {
    canvas.text_upwards(0, height - 1, text, {0, 0, 0});
  } else {
    canvas.text(0, 0, text, {0, 0, 0});
  }
  const testing::TempDir dir;
  canvas.write_png((dir.path() / "text.png").string());
  const Image wanted = read_png(dir.path() / "text.png");
  const auto dark = [](const Image& of, int64_t x, int64_t y) { return of.rgb[(y * of.width + x) * 3] < 50; };
  const auto stands_at = [&](int64_t left, int64_t top) {
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        if (dark(wanted, x, y) != dark(image, left + x, top + y)) return false;
    return true;
  };
  for (int64_t top = 0; top + height <= image.height; ++top)
    for (int64_t left = 0; left + width <= image.width; ++left)
      if (stands_at(left, top)) return true;
  return false;
}

// Returns whether some row of the image has `colors` one right after the other.
bool has_run(const Image& image, const std::vector<cli::Color>& colors) {
  const auto is = [&](int64_t x, int64_t y, cli::Color c) {
    return image.at(x, y) == std::vector<int>{c.r, c.g, c.b};
  };
  const auto n = static_cast<int64_t>(colors.size());
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x + n <= image.width; ++x) {
      int64_t i = 0;
      while (i < n && is(x + i, y, colors[static_cast<size_t>(i)])) ++i;
      if (i == n) return true;
    }
  return false;
}

TEST_CASE("pictures name their axes, the sizes of block and cell, and the scales of their colours") {
  const std::vector<float> scores(32, 0.25F);
  GateSummary layer(1, true, 2);
  layer.add(rows_of(kMask, scores, 2, 4));
  const testing::TempDir dir;
  CHECK(cli::write_maps(dir.path().string(), "some title", 64, {layer}) == 2);
  std::vector<cli::Color> scores_scale;
  for (int i = 0; i < 96; ++i) scores_scale.push_back(cli::heat(i / 95.0));
  for (const std::string name : {"overview.png", "layer-00.png"}) {
    INFO(name);
    const Image image = read_png(dir.path() / name);
    CHECK(shows(image, "some title"));
    CHECK(shows(image, "block = 64 tokens, cell = 2 x 2 blocks"));
    CHECK(shows(image, "blocks kept  0%"));
    CHECK(shows(image, "100%"));
    CHECK(shows(image, "key block"));
    CHECK(shows(image, "query block", /*upwards=*/true));
    CHECK_FALSE(shows(image, "query blocks", /*upwards=*/true));
    // The first and the last colours of the scale of what is kept.
    CHECK(has_run(image, {{255, 255, 255}, {233, 233, 238}}));
    CHECK(has_run(image, {{28, 60, 130}, {255, 255, 255}}));
    const bool of_layer = name == "layer-00.png";
    CHECK(shows(image, "gate score, logarithmic  0.0001") == of_layer);
    CHECK(has_run(image, scores_scale) == of_layer);
  }
}

TEST_CASE("a drawn map has its rows down, its keys right, and nothing above the diagonal") {
  cli::BlockMap map = {4, std::vector<float>(16, 0.0F), std::vector<float>(16, 0.0F)};
  for (const size_t cell : {0U, 5U, 10U, 15U, 12U}) map.kept[cell] = map.score[cell] = 1.0F;
  CHECK(cli::draw_map(map, 80, false) == "+@    +@\n+.+@  +.+@\n");
  const std::string color = cli::draw_map(map, 80, true);
  CHECK(std::count(color.begin(), color.end(), '\n') == 2);
  CHECK_THAT(color, ContainsSubstring("\033[38;2;28;60;130m"));
  CHECK(!cli::draw_map({1, {1.0F}, {1.0F}}, 80, false).empty());
}

std::vector<std::string> inspect(std::vector<std::string> more) {
  std::string text;
  for (int i = 0; i < 100; ++i)
    text += "Chapter " + std::to_string(i) + " tells of the sea and the old house. ";
  more.insert(more.begin(),
              {"inspect", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "-p", text});
  return more;
}

TEST_CASE("inspect counts what a prompt's gates chose, and draws it") {
  const testing::TempDir dir;
  const fs::path maps = dir.path() / "new" / "maps";
  const Outcome run =
      run_seer(inspect({"--sparse", "threshold=0.05", "--maps", maps.string(), "--output", "json"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto summary = nlohmann::json::parse(run.out);
  REQUIRE(summary["layers"].size() == 6);
  double sum = 0.0;
  for (const auto& layer : summary["layers"]) {
    REQUIRE(layer["head_density"].size() == 4);
    for (const auto& density : layer["head_density"]) sum += density.get<double>();
    CHECK(layer["shared_by_rows"] >= 1.0);
    CHECK(layer["shared_by_rows"] <= 2.0);
    CHECK(layer["shared_by_group"] <= 2.0);
    CHECK(layer["shared_by_both"] <= 4.0);
  }
  CHECK(sum / 24.0 == Approx(summary["density"].get<double>()).epsilon(1e-9));
  CHECK(summary["density"] < 0.9);
  CHECK_THAT(run.err, ContainsSubstring("7 pictures"));
  const Image overview = read_png(maps / "overview.png");
  CHECK(overview.height > overview.width);  // six layers of four heads
  const Image layer = read_png(maps / "layer-05.png");
  CHECK(layer.width > 4 * 200);
  CHECK(std::distance(fs::directory_iterator(maps), fs::directory_iterator()) == 7);
}

TEST_CASE("inspect shows a head in the terminal's characters") {
  const Outcome run = run_seer(inspect({"--sparse", "nz_ratio=0.3", "--show", "5.3"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK_THAT(run.out, ContainsSubstring("density, % of causal blocks"));
  CHECK_THAT(run.out, ContainsSubstring("layer 5 head 3"));
  CHECK_THAT(run.out, ContainsSubstring("@@"));
  CHECK(run.out.find('\033') == std::string::npos);
  for (const char* wrong : {"5", "5.", ".3", "a.b", "-1.0", "1.2.3"})
    CHECK_THAT(check_fails(inspect({"--show", wrong}), 2), ContainsSubstring("LAYER.HEAD"));
  CHECK_THAT(check_fails(inspect({"--show", "6.0"}), 2), ContainsSubstring("layers 0 to 5"));
  CHECK_THAT(check_fails(inspect({"--sparse", "dense"}), 2), ContainsSubstring("dense"));
  CHECK_THAT(check_fails(inspect({"--maps", "/dev/null/maps"}), 1), ContainsSubstring("/dev/null/maps"));
}

}  // namespace
}  // namespace seer
