// The trade-off curve as SVG.
#include "engine/base/json_reader.h"
#include "tools/seer/format.h"
#include "tools/seer/tune/trade_off_plot.h"

namespace seer::cli {
namespace {

std::string line(const char* style, double x0, double y0, double x1, double y1) {
  return format(R"(<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>)", style, x0, y0, x1, y1) +
         "\n";
}

std::string label(const char* anchor, double x, double y, const std::string& text) {
  return format(R"(<text text-anchor="%s" x="%.1f" y="%.1f">)", anchor, x, y) + html_escaped(text) +
         "</text>\n";
}

std::string axes(const TradeOffPlot& plot) {
  std::string out;
  for (const TradeOffPlot::Tick& tick : plot.x_ticks)
    out += line("grid", tick.at, plot.top, tick.at, plot.bottom) +
           label("middle", tick.at, plot.bottom + 13, tick.label);
  for (const TradeOffPlot::Tick& tick : plot.y_ticks)
    out += line("grid", plot.left, tick.at, plot.right, tick.at) +
           label("end", plot.left - 5, tick.at + 3, tick.label);
  out += line("axis", plot.left, plot.top, plot.left, plot.bottom);
  out += line("axis", plot.left, plot.bottom, plot.right, plot.bottom);
  out += label("middle", (plot.left + plot.right) / 2, plot.bottom + 30, plot.x_name);
  return out +
         format(R"svg(<text text-anchor="middle" transform="translate(12 %.1f) rotate(-90)">)svg",
                (plot.top + plot.bottom) / 2) +
         html_escaped(plot.y_name) + "</text>\n";
}

// A disc, a square or a diamond.
std::string mark(size_t curve, double x, double y) {
  if (curve % 3 == 0) return format(R"(<circle class="mark" cx="%.1f" cy="%.1f" r="4"/>)", x, y);
  return format(R"(<rect class="mark" x="%.1f" y="%.1f" width="7" height="7")", x - 3.5, y - 3.5) +
         (curve % 3 == 1 ? "/>" : format(R"svg( transform="rotate(45 %.1f %.1f)"/>)svg", x, y));
}

std::string point_figures(const TuneRow& row) {
  std::string text =
      row.rule + format(": %.1f%% of the blocks, perplexity ratio ", 100.0 * row.density) + ratio_text(row);
  if (row.n_look_ups > 0)
    text += format(", %lld of %lld look-ups", static_cast<long long>(row.n_found),
                   static_cast<long long>(row.n_look_ups));
  return text + (row.chosen ? ", recommended" : "");
}

std::string point(const TradeOffPlot& plot, const TradeOffPlot::Point& p, size_t curve) {
  const std::string text = html_escaped(point_figures(*p.row));
  std::string out =
      R"(<g class="point" tabindex="0" role="img" aria-label=")" + text + "\"><title>" + text + "</title>";
  out += line("error", p.x, p.high, p.x, p.low);
  if (p.row->chosen) out += format(R"(<circle class="chosen" cx="%.1f" cy="%.1f" r="7.5"/>)", p.x, p.y);
  out += mark(curve, p.x, p.y);
  out += p.label_below ? label("end", p.x - 7, p.y + 11, p.label) : label("start", p.x + 7, p.y - 5, p.label);
  // The figures of the point that has the pointer or the focus are shown above the plot.
  return out + format(R"(<text class="figures" text-anchor="end" x="%.1f" y="14">)", plot.right) + text +
         "</text></g>\n";
}

std::string curve_of(const TradeOffPlot& plot, size_t index) {
  const TradeOffPlot::Curve& curve = plot.curves[index];
  std::string out = format(R"(<g class="curve-%zu"><polyline class="line" points=")", index % 3);
  for (const TradeOffPlot::Point& p : curve.points) out += format("%.1f,%.1f ", p.x, p.y);
  out += "\"/>\n";
  for (const TradeOffPlot::Point& p : curve.points) out += point(plot, p, index);
  return out + "</g>\n";
}

std::string legend(const TradeOffPlot& plot) {
  double x = plot.left + 5;
  const double y = plot.top - 26;
  std::string out;
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    const std::string& family = plot.curves[i].family;
    out += format(R"(<g class="curve-%zu">)", i % 3) + mark(i, x, y) + "</g>" +
           label("start", x + 8, y + 3, family);
    x += 24.0 + 6.0 * static_cast<double>(family.size());
  }
  if (plot.x_limit || plot.y_limit)
    out += line("limit", x, y, x + 14, y) + label("start", x + 18, y + 3, "target");
  return out;
}

}  // namespace

std::string svg_of(const TradeOffPlot& plot, const std::string& id) {
  std::string out =
      format(R"(<svg viewBox="0 0 %.0f %.0f" role="group" aria-labelledby=")", plot.width, plot.height) + id +
      "\"><title id=\"" + id + "\">Trade-off of " + html_escaped(plot.title) + "</title>\n";
  out += axes(plot);
  if (plot.x_limit) out += line("limit", *plot.x_limit, plot.top, *plot.x_limit, plot.bottom);
  if (plot.y_limit) out += line("limit", plot.left, *plot.y_limit, plot.right, *plot.y_limit);
  for (size_t i = 0; i < plot.curves.size(); ++i) out += curve_of(plot, i);
  return out + legend(plot) + "</svg>\n";
}

std::string html_escaped(const std::string& text) {
  std::string out;
  for (const char c : read_json(to_text(text)).get<std::string>()) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace seer::cli
