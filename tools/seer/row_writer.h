// Result rows as a Markdown table for people, or as CSV, JSON or JSON lines for programs.
#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"

namespace seer::cli {

inline const std::vector<std::string> kRowFormats = {"md", "csv", "json", "jsonl"};

// A Markdown column. Shorter cells are padded to `width`; a longer cell is written whole.
struct Column {
  std::string title;
  size_t width;
  bool right = true;  // whether cells are aligned to the right
};

// Writes each row to stdout as soon as it is known. finish() closes a JSON array; without it the array stays
// open.
class RowWriter {
 public:
  RowWriter(std::string format, std::vector<Column> columns);
  // `fields` is one object with the same keys in every row; CSV leaves arrays out. `cells` has one text for
  // each column.
  void write(const OrderedJson& fields, const std::vector<std::string>& cells);
  void finish();

 private:
  void write_markdown(const std::vector<std::string>& cells);
  void write_csv(const OrderedJson& fields);

  std::string format_;
  std::vector<Column> columns_;
  size_t n_rows_ = 0;
};

}  // namespace seer::cli
