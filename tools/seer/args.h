// The options of one subcommand. CLI11 splits the command line; Args gives all subcommands one style of help
// and of errors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/option_table.h"

namespace seer::cli {

// A Setter takes an option's value, or throws Error{kUsage} with the reason. Args puts the option's name in
// front of that.
using Setter = std::function<void(const std::string& value)>;

Setter into(std::string& target);
Setter into(std::optional<std::string>& target);
Setter into(std::vector<std::string>& target);  // appends the value; for Args::values
// Accept whole numbers in [low, high].
Setter into(int64_t& target, int64_t low, int64_t high = INT64_MAX);
Setter into(std::optional<int64_t>& target, int64_t low, int64_t high = INT64_MAX);
Setter into(std::optional<double>& target);  // any finite number; the engine checks the range
struct CommandHead {
  const char* name;
  const char* synopsis;  // the text after "usage: seer NAME" in the help
  const char* description;
};

class Args {
 public:
  explicit Args(const CommandHead& head);
  ~Args();
  Args(const Args&) = delete;
  Args& operator=(const Args&) = delete;

  void group(const std::string& title);  // the title of the options added next
  // `names` is written as "-m,--model". The help line ends with "(default: `standard`)".
  void flag(const std::string& names, bool& target, const std::string& help);
  // If the option is given more than once, the last value counts.
  void value(const std::string& names, const std::string& metavar, const std::string& standard,
             const std::string& help, Setter set, const std::string& environment = "");
  // The value must be one of `choices`. The default is the value that `target` holds already.
  void choice(const std::string& names, const std::string& metavar, std::string& target,
              const std::vector<std::string>& choices, const std::string& help);
  // If the option is given more than once, every value counts, in order.
  void values(const std::string& names, const std::string& metavar, const std::string& standard,
              const std::string& help, Setter set, const std::string& environment = "");

  // Runs the setters. Returns false after printing --help or --version. Throws Error{kUsage} for an option
  // that is unknown, incomplete or refused by its setter.
  bool parse(const std::vector<std::string>& arguments);
  // Returns every declared option, with --help and --version.
  const CommandTable& table();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Returns the table of the options that Options declares. Options has kHead and add_to(Args&).
template <class Options>
CommandTable table_of() {
  Options options;
  Args args(Options::kHead);
  options.add_to(args);
  CommandTable table = args.table();
  table.try_parse = [](const std::vector<std::string>& arguments) {
    Options own;
    Args reader(Options::kHead);
    own.add_to(reader);
    reader.parse(arguments);
  };
  return table;
}

}  // namespace seer::cli
