#include "tools/seer/row_writer.h"

#include "tools/seer/format.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

// Returns the width in characters, not bytes: "±" takes one place.
size_t display_width(const std::string& text) {
  size_t width = 0;
  for (const char c : text) width += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return width;
}

std::string pad(const std::string& text, const Column& column) {
  const size_t width = display_width(text);
  const std::string blanks(width < column.width ? column.width - width : 0, ' ');
  return column.right ? blanks + text : text + blanks;
}

std::string quoted(std::string text) {
  for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 2))
    text.insert(at, 1, '"');
  return '"' + text + '"';
}

}  // namespace

RowWriter::RowWriter(std::string format, std::vector<Column> columns)
    : format_(std::move(format)), columns_(std::move(columns)) {
  for (Column& column : columns_) column.width = std::max(column.width, display_width(column.title));
}

void RowWriter::write(const OrderedJson& fields, const std::vector<std::string>& cells) {
  if (format_ == "md") {
    write_markdown(cells);
  } else if (format_ == "csv") {
    write_csv(fields);
  } else if (format_ == "jsonl") {
    write_stdout(to_text(fields) + "\n");
  } else {
    std::string text = to_text(fields, 2);
    for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 3))
      text.insert(at + 1, "  ");
    write_stdout((n_rows_ == 0 ? "[\n  " : ",\n  ") + text);
  }
  ++n_rows_;
}

void RowWriter::finish() {
  if (format_ == "json") write_stdout(n_rows_ == 0 ? "[]\n" : "\n]\n");
}

void RowWriter::write_markdown(const std::vector<std::string>& cells) {
  std::string text;
  if (n_rows_ == 0) {
    std::string rule;
    for (const Column& column : columns_) {
      text += "| " + pad(column.title, column) + " ";
      rule += "| " + std::string(column.width - 1, '-') + (column.right ? ":" : "-") + " ";
    }
    text += "|\n" + rule + "|\n";
  }
  for (size_t i = 0; i < columns_.size(); ++i) text += "| " + pad(cells.at(i), columns_[i]) + " ";
  write_stdout(text + "|\n");
}

void RowWriter::write_csv(const OrderedJson& fields) {
  std::string names;
  std::string values;
  for (const auto& [key, value] : fields.items()) {
    if (value.is_array()) continue;
    const std::string text = value.is_string() ? value.get<std::string>()
                             : value.is_null() ? ""
                                               : to_text(value);
    names += (names.empty() ? "" : ",") + key;
    values += (values.empty() ? "" : ",") + quoted(text);
  }
  write_stdout((n_rows_ == 0 ? names + "\n" : "") + values + "\n");
}

}  // namespace seer::cli
