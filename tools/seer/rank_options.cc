#include "tools/seer/rank_options.h"

#include <algorithm>
#include <csignal>
#include <string>

#include "tools/seer/exit_code.h"

namespace seer::cli {
namespace {

std::shared_ptr<Ranks> launched;

}  // namespace

void join_launched_ranks() { launched = Ranks::join(); }

const std::shared_ptr<Ranks>& launched_ranks() { return launched; }

void leave_ranks() { launched = nullptr; }

int run_follower(Ranks& ranks) {
  // The terminal and mpirun send signals to every rank, but only rank 0 acts on them.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  return ranks.follow() ? kDone : kFailed;
}

std::shared_ptr<Ranks> ranks_for(int64_t tp, int64_t cp) {
  if (tp > 1 && cp > 1)
    throw Error(ErrorKind::kUsage, "--tp " + std::to_string(tp) + " with --cp " + std::to_string(cp) +
                                       ": ranks divide either the model or the prompts. Give one of the two");
  const std::string option = cp > 1 ? "--cp" : "--tp";
  const int64_t n = cp > 1 ? cp : tp;
  const std::shared_ptr<Ranks>& started = launched_ranks();
  if (started) {
    if (n != 0 && n != started->size())
      throw Error(ErrorKind::kUsage, option + " " + std::to_string(n) + ", but mpirun started " +
                                         std::to_string(started->size()) + " ranks: " +
                                         (cp > 1 ? "give --cp as many" : "leave out --tp under mpirun"));
    return started;
  }
  return n > 1 ? Ranks::start(static_cast<int>(n), {"/proc/self/exe"}) : nullptr;
}

int64_t cores_of_rank(int64_t cores, int64_t n_ranks) {
  const std::shared_ptr<Ranks>& started = launched_ranks();
  return std::max<int64_t>(1, cores / (started ? started->core_sharers() : std::max<int64_t>(1, n_ranks)));
}

}  // namespace seer::cli
