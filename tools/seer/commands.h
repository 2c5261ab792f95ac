// The subcommands. A new one is a file with its run function and a line in commands().
#pragma once

#include <string>
#include <vector>

namespace seer::cli {

using Arguments = std::vector<std::string>;  // what follows the subcommand's name

// Each returns an ExitCode, or throws: main() reports what they throw.
int run_bench(const Arguments& arguments);
int run_generate(const Arguments& arguments);
int run_inspect(const Arguments& arguments);
int run_perplexity(const Arguments& arguments);
int run_tokenize(const Arguments& arguments);

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments& arguments);
};
const std::vector<Command>& commands();

}  // namespace seer::cli
