// seer: picks the subcommand; each has its own file.
#include <cstring>
#include <exception>

#include "seer/error.h"
#include "seer/version.h"
#include "tools/seer/args.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"

namespace seer::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {"generate", "complete a prompt", run_generate},
      {"bench", "measure prefill and decode, dense and sparse", run_bench},
      {"perplexity", "perplexity of a text, several sparse rules side by side", run_perplexity},
      {"inspect", "describe a model and its gates, or dump logits and gate scores", run_inspect},
      {"tokenize", "text to token ids, and back", run_tokenize},
  };
  return table;
}

namespace {

std::string help() {
  std::string out =
      "usage: seer COMMAND [options]\n\nLong-prompt inference with trained block-sparse "
      "prefill.\n\nCommands:\n";
  for (const Command& command : commands()) out += format("  %-12s %s\n", command.name, command.summary);
  out +=
      "\nOptions:\n"
      "  -h, --help   print this help, or a command's with 'seer COMMAND --help' (default: off)\n"
      "  --version    print the version and exit (default: off)\n"
      "\nSEER_MODEL, SEER_GATES and SEER_DEVICE stand in for -m, -g and --device. Results go to stdout, "
      "everything else to stderr.\n"
      "Exit codes: 0 done, 1 failed while running or no such device, 2 bad usage, 3 bad or unsupported "
      "file,\n"
      "4 out of memory, 130 interrupted.\n";
  return out;
}

int run(const Arguments& arguments) {
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "no command given; see 'seer --help'");
  const std::string& name = arguments[0];
  if (name == "-h" || name == "--help") {
    write_stdout(help());
    return kDone;
  }
  if (name == "--version") {
    write_stdout("seer " SEER_VERSION "\n");
    return kDone;
  }
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (name == command.name) return command.run(Arguments(arguments.begin() + 1, arguments.end()));
    names.emplace_back(command.name);
  }
  const std::string guess = nearest(name, names);
  throw Error(ErrorKind::kUsage, "unknown command '" + name + "'" +
                                     (guess.empty() ? "" : " (did you mean '" + guess + "'?)") +
                                     "; see 'seer --help'");
}

}  // namespace
}  // namespace seer::cli

int main(int argc, char** argv) {
  using namespace seer::cli;
  try {
    secure_standard_streams();
    install_signal_handlers();
    const int code = run(Arguments(argv + (argc > 0 ? 1 : 0), argv + argc));
    close_stdout();
    return code;
  } catch (const std::exception& error) {
    return report(error);
  }
}
