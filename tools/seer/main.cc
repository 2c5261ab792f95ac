// seer: picks the subcommand; each has its own file.
#include <exception>

#include "seer/error.h"
#include "seer/mapped_files.h"
#include "seer/version.h"
#include "tools/seer/address_space.h"
#include "tools/seer/args.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/manual.h"
#include "tools/seer/option_hints.h"
#include "tools/seer/output.h"
#include "tools/seer/rank_options.h"

namespace seer::cli {

namespace {

int run(const Arguments& arguments) {
  if (arguments.empty()) throw Error(ErrorKind::kUsage, "no command given; see 'seer --help'");
  const std::string& name = arguments[0];
  if (name == "-h" || name == "--help") {
    write_stdout(overview());
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
  restart_without_openblas_threads(argv);
  try {
    secure_standard_streams();
    install_signal_handlers();
    seer::explain_lost_files("seer: error: ", kFailed);
    join_launched_ranks();
    const std::shared_ptr<seer::Ranks>& ranks = launched_ranks();
    if (ranks && ranks->rank() > 0) return run_follower(*ranks);
    const int code = run(Arguments(argv + (argc > 0 ? 1 : 0), argv + argc));
    close_stdout();
    leave_ranks();
    return code;
  } catch (const std::exception& error) {
    const int code = report(error);
    leave_ranks();
    return code;
  }
}
