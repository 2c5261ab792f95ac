// The trade-off curve as pixels.
#include <algorithm>
#include <array>
#include <cmath>

#include "tools/seer/map_panels.h"
#include "tools/seer/tune/trade_off_plot.h"

namespace seer::cli {
namespace {

constexpr double kPixels = 2.0;     // pixels of a plot's unit
constexpr int64_t kLetterSize = 2;  // pixels of the canvas for a pixel of a letter
constexpr int64_t kLetterHeight = kGlyphHeight * kLetterSize;
constexpr Color kGrid = {225, 225, 230}, kAxis = {150, 150, 160}, kLimit = {178, 34, 34};
constexpr std::array<Color, 3> kCurves = {{{27, 95, 193}, {194, 87, 12}, {15, 118, 80}}};

int64_t pixel(double at) { return std::lround(at * kPixels); }
int64_t letters_width(const std::string& text) {
  return static_cast<int64_t>(text.size()) * kGlyphWidth * kLetterSize;
}

void draw_line(Canvas& canvas, double x0, double y0, double x1, double y1, Color color) {
  const int64_t n = std::max<int64_t>(1, pixel(std::max(std::abs(x1 - x0), std::abs(y1 - y0))));
  for (int64_t i = 0; i <= n; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(n);
    canvas.fill(pixel(x0 + share * (x1 - x0)) - 1, pixel(y0 + share * (y1 - y0)) - 1, 2, 2, color);
  }
}

void draw_dashes(Canvas& canvas, double x0, double y0, double x1, double y1) {
  const double length = std::hypot(x1 - x0, y1 - y0);
  const auto n = static_cast<int64_t>(std::ceil(length / 8.0));
  for (int64_t i = 0; i < n; ++i) {
    const double begin = 8.0 * static_cast<double>(i);
    const double from = begin / length, to = std::min(begin + 4.0, length) / length;
    draw_line(canvas, x0 + from * (x1 - x0), y0 + from * (y1 - y0), x0 + to * (x1 - x0), y0 + to * (y1 - y0),
              kLimit);
  }
}

// Curves differ in shape as well as in colour: a disc, a square, a diamond.
bool inside(size_t curve, int64_t dx, int64_t dy, int64_t radius) {
  if (curve == 0) return dx * dx + dy * dy <= radius * radius;
  if (curve == 1) return std::max(std::abs(dx), std::abs(dy)) <= radius * 9 / 10;
  return std::abs(dx) + std::abs(dy) <= radius * 13 / 10;
}

void draw_mark(Canvas& canvas, size_t curve, double x, double y, int64_t radius, Color color) {
  for (int64_t dy = -2 * radius; dy <= 2 * radius; ++dy)
    for (int64_t dx = -2 * radius; dx <= 2 * radius; ++dx)
      if (inside(curve, dx, dy, radius)) canvas.fill(pixel(x) + dx, pixel(y) + dy, 1, 1, color);
}

void draw_axes(Canvas& canvas, const TradeOffPlot& plot, double top) {
  for (const TradeOffPlot::Tick& tick : plot.x_ticks) {
    draw_line(canvas, tick.at, top + plot.top, tick.at, top + plot.bottom, kGrid);
    canvas.text(pixel(tick.at) - letters_width(tick.label) / 2, pixel(top + plot.bottom) + 8, tick.label,
                kInk, kLetterSize);
  }
  for (const TradeOffPlot::Tick& tick : plot.y_ticks) {
    draw_line(canvas, plot.left, top + tick.at, plot.right, top + tick.at, kGrid);
    canvas.text(pixel(plot.left) - 8 - letters_width(tick.label), pixel(top + tick.at) - kLetterHeight / 2,
                tick.label, kInk, kLetterSize);
  }
  draw_line(canvas, plot.left, top + plot.top, plot.left, top + plot.bottom, kAxis);
  draw_line(canvas, plot.left, top + plot.bottom, plot.right, top + plot.bottom, kAxis);
  canvas.text(pixel(plot.left), pixel(top) + 12, plot.title, kInk, kLetterSize);
  canvas.text((pixel(plot.left + plot.right) - letters_width(plot.x_name)) / 2, pixel(top + plot.bottom) + 34,
              plot.x_name, kInk, kLetterSize);
  canvas.text_upwards(8, (pixel(2.0 * top + plot.top + plot.bottom) + letters_width(plot.y_name)) / 2,
                      plot.y_name, kInk, kLetterSize);
}

void draw_curve(Canvas& canvas, const TradeOffPlot::Curve& curve, size_t index, double top) {
  const Color color = kCurves[index % kCurves.size()];
  for (size_t i = 0; i < curve.points.size(); ++i) {
    const TradeOffPlot::Point& point = curve.points[i];
    if (i > 0)
      draw_line(canvas, curve.points[i - 1].x, top + curve.points[i - 1].y, point.x, top + point.y, color);
    draw_line(canvas, point.x, top + point.high, point.x, top + point.low, color);
  }
  for (const TradeOffPlot::Point& point : curve.points) {
    if (point.row->chosen) {
      draw_mark(canvas, 0, point.x, top + point.y, 15, kInk);
      draw_mark(canvas, 0, point.x, top + point.y, 12, {255, 255, 255});
    }
    draw_mark(canvas, index, point.x, top + point.y, 7, color);
    const int64_t x =
        point.label_below ? pixel(point.x) - 12 - letters_width(point.label) : pixel(point.x) + 14;
    canvas.text(x, pixel(top + point.y) + (point.label_below ? 10 : -24), point.label, color, kLetterSize);
  }
}

void draw_legend(Canvas& canvas, const TradeOffPlot& plot, double top) {
  int64_t x = pixel(plot.left);
  const double y = top + plot.top - 26;
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    draw_mark(canvas, i, static_cast<double>(x + 8) / kPixels, y, 7, kCurves[i % kCurves.size()]);
    canvas.text(x + 22, pixel(y) - kLetterHeight / 2, plot.curves[i].family, kInk, kLetterSize);
    x += 22 + letters_width(plot.curves[i].family) + 30;
  }
  if (!plot.x_limit && !plot.y_limit) return;
  draw_dashes(canvas, static_cast<double>(x) / kPixels, y, static_cast<double>(x) / kPixels + 12, y);
  canvas.text(x + 32, pixel(y) - kLetterHeight / 2, "target", kInk, kLetterSize);
}

}  // namespace

Canvas draw_trade_offs(const std::vector<TradeOffPlot>& plots) {
  double width = 0.0, height = 0.0;
  for (const TradeOffPlot& plot : plots) {
    width = std::max(width, plot.width);
    height += plot.height;
  }
  Canvas canvas(pixel(width), pixel(height));
  double top = 0.0;
  for (const TradeOffPlot& plot : plots) {
    draw_axes(canvas, plot, top);
    if (plot.x_limit) draw_dashes(canvas, *plot.x_limit, top + plot.top, *plot.x_limit, top + plot.bottom);
    if (plot.y_limit) draw_dashes(canvas, plot.left, top + *plot.y_limit, plot.right, top + *plot.y_limit);
    for (size_t i = 0; i < plot.curves.size(); ++i) draw_curve(canvas, plot.curves[i], i, top);
    draw_legend(canvas, plot, top);
    top += plot.height;
  }
  return canvas;
}

}  // namespace seer::cli
