#include "tools/seer/tune/trade_off_plot.h"

#include <algorithm>
#include <cmath>

#include "tools/seer/format.h"

namespace seer::cli {
namespace {

constexpr double kLeastExcess = 1e-4;  // of the ratio over 1; smaller ones are drawn at the lower edge
constexpr double kPlotWidth = 480, kPlotHeight = 314, kPlotLeft = 62, kPlotTop = 54, kPlotRight = 16,
                 kPlotBottom = 40;

// Places values on an axis by their logarithms.
struct LogAxis {
  double low, high, at_low, at_high;

  double at(double value) const {
    const double share = std::log(std::clamp(value, low, high) / low) / std::log(high / low);
    return at_low + share * (at_high - at_low);
  }
};

// Returns 1, 2 and 5 (or 1 and 3, if `few`) times the powers of ten in [low, high].
std::vector<double> round_numbers(double low, double high, bool few) {
  std::vector<double> numbers;
  for (int power = -4; power <= 6; ++power)
    for (const double digit : few ? std::vector<double>{1, 3} : std::vector<double>{1, 2, 5}) {
      const double number = digit * std::pow(10.0, power);
      if (number >= low * 0.999 && number <= high * 1.001) numbers.push_back(number);
    }
  return numbers;
}

double excess(double ratio) { return std::max(ratio - 1.0, kLeastExcess); }

LogAxis x_axis_of(const TuneTable& table) {
  double least = 0.5;
  for (const TuneRow& row : table.rows) least = std::min(least, row.density);
  const std::vector<double> below = round_numbers(1e-4, std::max(least, 1.1e-4), false);
  return {below.back(), 1.0, kPlotLeft, kPlotWidth - kPlotRight};
}

LogAxis y_axis_of(const TuneTable& table) {
  double most = 1e-2;
  for (const TuneRow& row : table.rows) most = std::max(most, excess(row.ratio + row.ratio_error));
  const std::vector<double> above = round_numbers(most, most * 20.0, true);
  return {kLeastExcess, above.empty() ? most : above.front(), kPlotHeight - kPlotBottom, kPlotTop};
}

void add_point(TradeOffPlot& plot, const TuneRow& row, const LogAxis& x, const LogAxis& y) {
  auto curve = std::find_if(plot.curves.begin(), plot.curves.end(),
                            [&](const auto& other) { return other.family == row.family; });
  if (curve == plot.curves.end()) curve = plot.curves.insert(curve, {row.family, {}});
  TradeOffPlot::Point point;
  point.x = x.at(row.density);
  point.y = y.at(excess(row.ratio));
  point.high = y.at(excess(row.ratio + row.ratio_error));
  point.low = y.at(excess(row.ratio - row.ratio_error));
  point.label = row.rule.substr(row.rule.find('=') + 1);
  // A curve falls from left to right, so it passes neither place. A label must not reach below the axis,
  // where the axis has its numbers.
  point.label_below = curve == plot.curves.begin() && point.y < plot.bottom - 16.0;
  point.row = &row;
  curve->points.push_back(point);
}

}  // namespace

TradeOffPlot plot_trade_off(const TuneTable& table, const TuneTarget& target) {
  const LogAxis x = x_axis_of(table), y = y_axis_of(table);
  TradeOffPlot plot;
  plot.width = kPlotWidth, plot.height = kPlotHeight, plot.left = kPlotLeft, plot.top = kPlotTop;
  plot.right = kPlotWidth - kPlotRight, plot.bottom = kPlotHeight - kPlotBottom;
  plot.title = std::string("rules for ") + table.purpose();
  plot.x_name = "blocks kept";
  plot.y_name = "perplexity over dense";
  for (const double tick : round_numbers(x.low, x.high, false))
    plot.x_ticks.push_back({x.at(tick), format("%g%%", 100.0 * tick)});
  for (const double tick : round_numbers(y.low, y.high, true))
    plot.y_ticks.push_back({y.at(tick), format("+%g%%", 100.0 * tick)});
  for (const TuneRow& row : table.rows)
    if (!row.dense) add_point(plot, row, x, y);
  for (TradeOffPlot::Curve& curve : plot.curves)
    std::stable_sort(curve.points.begin(), curve.points.end(),
                     [](const auto& a, const auto& b) { return a.x < b.x; });
  if (target.density && *target.density >= x.low) plot.x_limit = x.at(*target.density);
  if (target.ppl_ratio && *target.ppl_ratio - 1.0 <= y.high) plot.y_limit = y.at(excess(*target.ppl_ratio));
  return plot;
}

}  // namespace seer::cli
