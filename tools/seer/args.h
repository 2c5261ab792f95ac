// The options of one subcommand: CLI11 splits the command line, this adds one style of help and of errors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/option_table.h"

namespace seer::cli {

// Takes an option's value, or throws Error{kUsage} with the reason; the option's name is put in front.
using Setter = std::function<void(const std::string& value)>;

Setter into(std::string& target);
Setter into(std::optional<std::string>& target);
Setter into(std::vector<std::string>& target);  // appends, for Args::values
// Whole numbers in [low, high].
Setter into(int64_t& target, int64_t low, int64_t high = INT64_MAX);
Setter into(std::optional<int64_t>& target, int64_t low, int64_t high = INT64_MAX);
Setter into(std::optional<double>& target);  // any finite number; the engine knows the range
struct CommandHead {
  const char* name;
  const char* synopsis;  // follows "usage: seer NAME" in the help
  const char* description;
};

class Args {
 public:
  explicit Args(const CommandHead& head);
  ~Args();
  Args(const Args&) = delete;
  Args& operator=(const Args&) = delete;

  void group(const std::string& title);  // heads the options that follow
  // `names` as "-m,--model"; the help line ends with "(default: `standard`)".
  void flag(const std::string& names, bool& target, const std::string& help);
  // The last value counts where the option is given more than once.
  void value(const std::string& names, const std::string& metavar, const std::string& standard,
             const std::string& help, Setter set, const std::string& environment = "");
  // One of `choices`; what `target` holds is the default.
  void choice(const std::string& names, const std::string& metavar, std::string& target,
              const std::vector<std::string>& choices, const std::string& help);
  // Every value counts.
  void values(const std::string& names, const std::string& metavar, const std::string& standard,
              const std::string& help, Setter set);

  // Runs the setters. False after --help or --version was printed. Throws Error{kUsage} for anything unknown,
  // incomplete or refused by a setter.
  bool parse(const std::vector<std::string>& arguments);
  // Everything declared, --help and --version included.
  const CommandTable& table();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What Options, which has kHead and add_to(Args&), declares.
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
