// A subcommand's options as data. --help, the manual page and the shells' completions are written from it.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace seer::cli {

struct OptionRow {
  std::vector<std::string> names;  // "-m", "--model"
  std::string metavar;             // "DIR"; empty for a flag
  std::string standard;            // its value if it is not given and no environment variable sets it
  std::string help;
  std::string environment;           // the variable that is read if it is not given; empty: none
  std::string group;                 // the title above it in the help
  std::vector<std::string> choices;  // every possible value; empty if there are too many to list
};

struct CommandTable {
  std::string name, synopsis, description;  // `synopsis` is the text after "seer NAME"
  std::vector<OptionRow> options;
  // Reads arguments as the command does before it runs, and discards them. Throws as Args::parse does.
  std::function<void(const std::vector<std::string>& arguments)> try_parse;
};

std::string help_text(const CommandTable& table);

// Returns an empty text if there is no default, else "(default: $SEER_MODEL, else none)".
std::string default_text(const OptionRow& option);

// Breaks `text` into lines of at most `width` characters, and indents all but the first by `indent`.
std::string wrap(const std::string& text, size_t width, size_t indent);

}  // namespace seer::cli
