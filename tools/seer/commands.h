// The subcommands. To add one, write a file with its run function and add a line to commands().
#pragma once

#include <string>
#include <vector>

#include "tools/seer/option_table.h"

namespace seer::cli {

using Arguments = std::vector<std::string>;  // the words after the subcommand's name

// Each function returns an ExitCode, or throws; main() reports the error.
int run_bench(const Arguments& arguments);
int run_chat(const Arguments& arguments);
int run_completion(const Arguments& arguments);
int run_distill(const Arguments& arguments);
int run_generate(const Arguments& arguments);
int run_inspect(const Arguments& arguments);
int run_man(const Arguments& arguments);
int run_perplexity(const Arguments& arguments);
int run_serve(const Arguments& arguments);  // only in builds with the server: see commands()
int run_render(const Arguments& arguments);
int run_tokenize(const Arguments& arguments);
int run_tune(const Arguments& arguments);

// Each function returns the options of its command as data.
CommandTable describe_bench();
CommandTable describe_chat();
CommandTable describe_completion();
CommandTable describe_distill();
CommandTable describe_generate();
CommandTable describe_inspect();
CommandTable describe_man();
CommandTable describe_perplexity();
CommandTable describe_serve();
CommandTable describe_render();
CommandTable describe_tokenize();
CommandTable describe_tune();

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments& arguments);
  CommandTable (*describe)();
};
const std::vector<Command>& commands();

}  // namespace seer::cli
