// The subcommands. A new one is a file with its run function and a line in commands().
#pragma once

#include <string>
#include <vector>

#include "tools/seer/option_table.h"

namespace seer::cli {

using Arguments = std::vector<std::string>;  // what follows the subcommand's name

// Each returns an ExitCode, or throws: main() reports what they throw.
int run_bench(const Arguments& arguments);
int run_chat(const Arguments& arguments);
int run_completion(const Arguments& arguments);
int run_generate(const Arguments& arguments);
int run_inspect(const Arguments& arguments);
int run_man(const Arguments& arguments);
int run_perplexity(const Arguments& arguments);
int run_serve(const Arguments& arguments);  // where it was built: see commands()
int run_render(const Arguments& arguments);
int run_tokenize(const Arguments& arguments);

// The same options as data.
CommandTable describe_bench();
CommandTable describe_chat();
CommandTable describe_completion();
CommandTable describe_generate();
CommandTable describe_inspect();
CommandTable describe_man();
CommandTable describe_perplexity();
CommandTable describe_serve();
CommandTable describe_render();
CommandTable describe_tokenize();

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments& arguments);
  CommandTable (*describe)();
};
const std::vector<Command>& commands();

}  // namespace seer::cli
