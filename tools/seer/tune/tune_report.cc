#include "tools/seer/tune/tune_report.h"

#include <cctype>

#include "seer/version.h"
#include "tools/seer/format.h"
#include "tools/seer/tune/trade_off_plot.h"

namespace seer::cli {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --ink: #1f2328; --back: #ffffff; --faint: #6b7280; --grid: #e3e5ea;
  --limit: #b22222; --mark: #fff3d6; --c0: #1b5fc1; --c1: #b4500b; --c2: #0f7650; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --back: #16181d; --faint: #9aa2ad; --grid: #2c3038;
  --limit: #ff7b72; --mark: #3d3410; --c0: #79b0ff; --c1: #ffa657; --c2: #56d3a0; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--back); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:last-child { text-align: left; } tr.chosen { background: var(--mark); }
svg { width: 100%; height: auto; font: 9px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--grid); } .axis { stroke: var(--faint); } .error { stroke: currentColor; }
.limit { stroke: var(--limit); stroke-dasharray: 4 4; } .line { fill: none; stroke: currentColor; stroke-width: 1.3; }
.curve-0 { color: var(--c0); } .curve-1 { color: var(--c1); } .curve-2 { color: var(--c2); }
.mark { fill: currentColor; } .chosen { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.point text { fill: currentColor; } .figures { visibility: hidden; }
.point:focus .figures, .point:hover .figures { visibility: visible; fill: var(--ink); }
.point:focus { outline: none; } .point:focus .mark { stroke: var(--ink); stroke-width: 2; }
.wide:focus { outline: 2px solid var(--c0); outline-offset: 2px; }
)";

std::string element(const std::string& tag, const std::string& text) {
  return "<" + tag + ">" + html_escaped(text) + "</" + tag.substr(0, tag.find(' ')) + ">";
}

std::string row_of(const TuneTable& table, const TuneRow& row) {
  std::string out = row.chosen ? "<tr class=\"chosen\">" : "<tr>";
  out += element("th scope=\"row\"", row.rule);
  out += element("td", format("%.1f%%", 100.0 * row.density));
  out += element("td", format("%.4f ± %.4f", row.perplexity, row.perplexity_error));
  out += element("td", ratio_text(row));
  out += element("td", row.n_look_ups == 0 ? ""
                                           : format("%lld of %lld", static_cast<long long>(row.n_found),
                                                    static_cast<long long>(row.n_look_ups)));
  out += element("td",
                 table.decodes ? format("%.1f", row.tokens_per_second) : format("%.3f", row.prefill_seconds));
  return out + element("td", row.chosen ? "recommended" : "") + "</tr>\n";
}

std::string table_of_rows(const TuneTable& table) {
  const std::string title = std::string("Rules for ") + table.purpose();
  std::string out = "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"" + title +
                    "\">\n<table>\n<thead><tr>";
  for (const char* name : {"rule", "blocks kept", "perplexity", "ratio to dense", "look-ups",
                           table.decodes ? "tokens/s" : "prefill, s", ""})
    out += *name == '\0' ? "<td></td>" : element("th scope=\"col\"", name);
  out += "</tr></thead>\n<tbody>\n";
  for (const TuneRow& row : table.rows) out += row_of(table, row);
  return out + "</tbody>\n</table>\n</div>\n";
}

std::string section(const TuneTable& table, const TuneTarget& target) {
  const std::string id = std::string("curve-of-") + table.purpose();
  std::string out = "<section>\n" + element("h2", std::string("Rules for ") + table.purpose()) +
                    "\n<figure>\n" + svg_of(plot_trade_off(table, target), id);
  return out +
         "<figcaption>Lower left is better. Bars are one standard error; the tab key and the pointer show a "
         "rule's figures. Ratios up to 1.0001 stand at the lower edge.</figcaption>\n</figure>\n" +
         table_of_rows(table) + "</section>\n";
}

}  // namespace

std::string html_page(const TuneReport& report) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>What each sparsity costs</title>\n<style>" +
      std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n<h1>What each sparsity costs</h1>\n<dl>\n";
  for (const auto& [name, value] : report.facts) out += element("dt", name) + element("dd", value) + "\n";
  out += "</dl>\n<h2>Recommendation</h2>\n";
  for (std::string sentence : report.sentences) {
    sentence.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence.front())));
    out += element("p", sentence + ".") + "\n";
  }
  for (const TuneTable* table : report.tables) out += section(*table, report.target);
  return out + "</main>\n<footer>" + element("p", "Made by seer tune " SEER_VERSION ".") +
         "</footer>\n</body>\n</html>\n";
}

}  // namespace seer::cli
