// The report of seer tune: one HTML page that needs no other file.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/seer/tune/tune_rows.h"

namespace seer::cli {

struct TuneReport {
  std::vector<std::pair<std::string, std::string>> facts;  // "model", "examples/demo-model/model"
  std::vector<std::string> sentences;                      // the recommendation, and what is uncertain
  std::vector<const TuneTable*> tables;
  TuneTarget target;
};

// Returns the page: the facts, the recommendation, and for each kind of gates the trade-off curve as inline
// SVG with the table below it. It has no scripts, loads nothing, follows the reader's light or dark mode, and
// every point of a curve can be reached with the tab key.
std::string html_page(const TuneReport& report);

}  // namespace seer::cli
