#include "tools/seer/ranks.h"

#include <algorithm>
#include <csignal>
#include <string>

#include "tools/seer/exit_code.h"

namespace seer::cli {
namespace {

struct Launched {
  std::shared_ptr<Ranks> ranks = Ranks::join();
};

Launched& launched() {
  static Launched instance;
  return instance;
}

}  // namespace

const std::shared_ptr<Ranks>& launched_ranks() { return launched().ranks; }

void leave_ranks() { launched().ranks = nullptr; }

int run_follower(Ranks& ranks) {
  // The terminal and mpirun signal every rank; rank 0 alone decides what that means.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  return ranks.follow() ? kDone : kFailed;
}

std::shared_ptr<Ranks> ranks_for(int64_t tp) {
  const std::shared_ptr<Ranks>& started = launched_ranks();
  if (started) {
    if (tp != 0 && tp != started->size())
      throw Error(ErrorKind::kUsage, "--tp " + std::to_string(tp) + ", but mpirun started " +
                                         std::to_string(started->size()) +
                                         " ranks: leave out --tp under mpirun");
    return started;
  }
  return tp > 1 ? Ranks::start(static_cast<int>(tp), {"/proc/self/exe"}) : nullptr;
}

int64_t cores_of_rank(int64_t cores, int64_t tp) {
  const std::shared_ptr<Ranks>& started = launched_ranks();
  return std::max<int64_t>(1, cores / (started ? started->core_sharers() : std::max<int64_t>(1, tp)));
}

}  // namespace seer::cli
