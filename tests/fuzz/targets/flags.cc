// Runs a command line: the command's name and then its arguments, one on each line.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "tests/fuzz/support.h"
#include "tools/seer/commands.h"
#include "tools/seer/option_hints.h"

namespace seer::fuzz::flags_target {
namespace {

void run(const std::string& bytes) {
  static const bool quiet = std::freopen("/dev/null", "w", stdout) != nullptr;  // because --help prints
  if (!quiet || bytes.find('\0') != std::string::npos) return;  // no argument can contain a NUL
  std::istringstream lines(bytes);
  std::string name;
  std::getline(lines, name);
  cli::Arguments arguments;
  for (std::string line; std::getline(lines, line);) arguments.push_back(line);
  std::vector<std::string> names;
  for (const cli::Command& command : cli::commands()) {
    names.emplace_back(command.name);
    if (name == command.name) accepts([&] { command.describe().try_parse(arguments); });
  }
  const std::string guess = cli::nearest(name, names);
  expect(guess.empty() || std::find(names.begin(), names.end(), guess) != names.end(),
         "a guess that is no command");
}

const Registration kTarget({"flags", run, nullptr, 1024});

}  // namespace
}  // namespace seer::fuzz::flags_target
