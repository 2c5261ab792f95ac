// Measures the time that the device spends in each phase, by events in the stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "kernels/backend.h"

namespace seer::cuda {

class PhaseTimer {
 public:
  PhaseTimer() = default;
  ~PhaseTimer();
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

  void begin(Phase phase, cudaStream_t stream);
  void end(Phase phase, cudaStream_t stream);  // ends the last begun one, if it has not ended
  int64_t sum_ns(Phase phase) const;           // waits for the phases' ends
  void reset() { n_used_ = 0; }

 private:
  struct Span {
    Phase phase;
    cudaEvent_t begin, end;
    bool ended;
  };
  std::vector<Span> spans_;  // the first n_used_ count; the others keep their events for later
  size_t n_used_ = 0;
};

}  // namespace seer::cuda
