// One model on several devices or machines: several processes, the ranks, each hold a part of the model, or
// of its prompts (EngineOptions::rank_split). Rank 0 is the program as it is without ranks: it loads an
// engine, with EngineOptions::ranks, and uses it. The others compute their part of what rank 0's engine does:
//
//   // Null unless mpirun, or Ranks::start(), started this process.
//   const auto ranks = seer::Ranks::join();
//   if (ranks && ranks->rank() > 0) return ranks->follow() ? 0 : 1;
//   options.ranks = ranks;  // rank 0, or alone: goes on as without ranks
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

  // Joins the ranks if mpirun or start() started this process; returns null in a process that was started
  // alone. Call it once, before other threads start. Throws Error{kDevice} if the ranks do not come together,
  // and Error{kUnsupported} if mpirun started this process and the build has no MPI.
  static std::shared_ptr<Ranks> join();
  // Starts n - 1 processes of `command` (a program's path, then its arguments) on this machine, and makes
  // this process rank 0. The started processes must call join() and follow(); they end when the last
  // reference to the result is gone. Throws Error{kUsage} if n is out of range, or n > 1 and the command is
  // empty, and Error{kDevice} if the processes cannot be started.
  static std::shared_ptr<Ranks> start(int n, const std::vector<std::string>& command);

  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;
  // Returns how many ranks, this one included, may run on the same CPU cores.
  virtual int core_sharers() const noexcept = 0;
  // Sets how many seconds a rank waits for the others within a step before it gives up; 60 unless set. Call
  // it on rank 0, which tells the others, and before the engine is loaded.
  virtual void set_timeout(double seconds) = 0;

  // Must be called on ranks other than 0. Loads and computes the parts that rank 0 asks for. Returns true
  // when rank 0 has destroyed its Ranks, and false if a rank has failed and rank 0 reports it. Throws Error
  // if no other rank can report the failure.
  virtual bool follow() = 0;
};

}  // namespace seer
