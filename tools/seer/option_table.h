// What a subcommand's options are, as data: --help, the man page and the shells' completions are written from
// it.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace seer::cli {

struct OptionRow {
  std::vector<std::string> names;  // "-m", "--model"
  std::string metavar;             // "DIR"; empty for a flag
  std::string standard;            // what it is where it is not given, the environment apart
  std::string help;
  std::string environment;           // the variable that stands in for it; empty: none
  std::string group;                 // the title it stands under
  std::vector<std::string> choices;  // every value it takes; empty: more than can be listed
};

struct CommandTable {
  std::string name, synopsis, description;  // `synopsis` follows "seer NAME"
  std::vector<OptionRow> options;
  // Reads arguments as the command does before it runs, and forgets them: Args::parse, of which it has the
  // errors.
  std::function<void(const std::vector<std::string>& arguments)> try_parse;
};

std::string help_text(const CommandTable& table);

// "" for no default, else "(default: $SEER_MODEL, else none)".
std::string default_text(const OptionRow& option);

// `text` in lines of at most `width` characters, further lines indented by `indent`.
std::string wrap(const std::string& text, size_t width, size_t indent);

}  // namespace seer::cli
