// One model on several devices or machines: each of several processes, the ranks, holds a part of it, or
// of its prompts (EngineOptions::rank_split). Rank 0 is the program as it is without ranks: it loads an
// engine, with EngineOptions::ranks, and uses it. The others compute their part of what rank 0's engine does:
//
//   // Null unless mpirun, or Ranks::start(), started this process.
//   const auto ranks = seer::Ranks::join();
//   if (ranks && ranks->rank() > 0) return ranks->follow() ? 0 : 1;
//   options.ranks = ranks;  // rank 0, or alone: goes on as ever
//
// For C: seer_ranks in seer/seer.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "seer/error.h"

namespace seer {

class SEER_API Ranks {
 public:
  virtual ~Ranks() = default;

  // Of a process that mpirun or start() started; null in one that was started alone. Call it once, before
  // other threads start. Throws Error{kDevice} where the ranks do not come together, {kUnsupported} where
  // mpirun started this process and the build has no MPI.
  static std::shared_ptr<Ranks> join();
  // Starts n - 1 processes of `command` (a program's path, then its arguments) on this machine, which are to
  // join() and follow(), and makes this one rank 0. They end with the last reference. Throws Error{kUsage}
  // for a count out of range or, where n > 1, an empty command, {kDevice} where they cannot be started.
  static std::shared_ptr<Ranks> start(int n, const std::vector<std::string>& command);

  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;
  // How many ranks, this one included, may run on the same CPU cores.
  virtual int core_sharers() const noexcept = 0;
  // Seconds that a rank waits for the others within a step before it gives them up; 60 unless set. On rank 0,
  // before the engine is loaded: it tells the others.
  virtual void set_timeout(double seconds) = 0;

  // On ranks other than 0: loads and computes what rank 0 says, until rank 0 lets go of its Ranks (true) or a
  // rank has failed (false: rank 0 has the error). Throws Error where nobody else can report what happened.
  virtual bool follow() = 0;
};

}  // namespace seer
