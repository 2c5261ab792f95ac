// The trade-off curve shows what each rule keeps, and what it loses. It is laid out once, and drawn as pixels
// and as SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/seer/canvas.h"
#include "tools/seer/tune/tune_rows.h"

namespace seer::cli {

// All positions and sizes are in pixels, from the upper left corner.
struct TradeOffPlot {
  struct Tick {
    double at;
    std::string label;
  };
  struct Point {
    double x, y, high, low;  // high and low: the ends of the bar of one standard error
    std::string label;       // the rule's value
    bool label_below;        // to the lower left of the point, else to its upper right
    const TuneRow* row;
  };
  struct Curve {
    std::string family;  // "threshold"
    std::vector<Point> points;
  };

  double width = 0, height = 0, left = 0, top = 0, right = 0, bottom = 0;
  std::string title, x_name, y_name;
  std::vector<Tick> x_ticks, y_ticks;
  std::vector<Curve> curves;
  std::optional<double> x_limit, y_limit;  // of the target
};

// The axes are the share of blocks kept, and how far the perplexity ratio is above 1; both are logarithmic.
// Ratios that are not above 1.0001 are drawn at the lower edge. `table` must outlive the plot, which points
// into it.
TradeOffPlot plot_trade_off(const TuneTable& table, const TuneTarget& target);

// Draws the curves one below the other, twice as large as they were laid out.
Canvas draw_trade_offs(const std::vector<TradeOffPlot>& plots);

// Returns an <svg> element for a page whose style sheet colours the classes curve-0 and so on, axis, limit
// and chosen. Each point can be focused by keyboard, and its figures are its title. `id` must be unique in
// the page.
std::string svg_of(const TradeOffPlot& plot, const std::string& id);

// Returns the text with &, <, > and quotes as entities, and bytes that are not UTF-8 as U+FFFD.
std::string html_escaped(const std::string& text);

}  // namespace seer::cli
