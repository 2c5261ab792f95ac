#include "tools/seer/option_table.h"

#include <algorithm>

namespace seer::cli {
namespace {

constexpr size_t kHelpColumn = 34;
constexpr size_t kHelpWidth = 100;

// Returns an option's names. Long names are aligned, whether or not there is a short one.
std::string left_column(const OptionRow& option) {
  std::string text = option.names.size() == 1 && option.names[0].starts_with("--") ? "      " : "  ";
  for (size_t i = 0; i < option.names.size(); ++i) text += (i == 0 ? "" : ", ") + option.names[i];
  return option.metavar.empty() ? text : text + " " + option.metavar;
}

}  // namespace

std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string out;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const size_t length = end - begin;
    if (column > 0 && column + 1 + length > width) {
      out += "\n" + std::string(indent, ' ');
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out.append(text, begin, length);
    column += length;
    begin = end + 1;
  }
  return out;
}

std::string default_text(const OptionRow& option) {
  return "(default: " + (option.environment.empty() ? "" : "$" + option.environment + ", else ") +
         option.standard + ")";
}

std::string help_text(const CommandTable& table) {
  std::string out = "usage: seer " + table.name + (table.synopsis.empty() ? "" : " " + table.synopsis) +
                    "\n\n" + wrap(table.description, kHelpWidth, 0) + "\n";
  std::string shown;
  for (const OptionRow& option : table.options) {
    if (option.group != shown) out += "\n" + option.group + ":\n";
    shown = option.group;
    std::string left = left_column(option);
    // A name that is too long for its column gets a line of its own.
    if (left.size() + 2 > kHelpColumn) {
      out += left + "\n" + std::string(kHelpColumn, ' ');
    } else {
      left.resize(kHelpColumn, ' ');
      out += left;
    }
    const std::string right = option.help + " " + default_text(option);
    out += wrap(right, kHelpWidth - kHelpColumn, kHelpColumn) + "\n";
  }
  return out;
}

}  // namespace seer::cli
