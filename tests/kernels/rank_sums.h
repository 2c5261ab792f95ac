// Sums over ranks on GPUs, in the form that every rank of a test runs them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/comm/communicator.h"

namespace seer::testing {

struct SumCase {
  int64_t n_rows, width;
  int n_sums;     // one after another, each of different shares
  bool recorded;  // as a step that is recorded and replayed; each run of it has n_sums sums
  bool beside;    // in two parts, each of which runs at the same time as the work after it
};
inline constexpr int kSumRuns = 4;  // runs of a recorded step

// Returns the cases in the same order on every rank. Their sizes lie on both sides of the size at which one
// kernel takes over from another.
const std::vector<SumCase>& sum_cases();
std::string description(const SumCase& c);

// Returns the bf16 elements that should result from start_value() and every rank's shares.
std::vector<uint16_t> expected_sums(const SumCase& c, int n_ranks);

// Runs all cases with a GPU backend on the rank's GPU, and gathers the results of all ranks: returns them on
// rank 0, as [case][rank]. `reached` is set to whether the ranks can reach one another's memory.
std::vector<std::vector<std::vector<uint16_t>>> run_sum_cases(Communicator* host, bool* reached);

// Every rank gathers all shares. Returns on rank 0 whether all ranks have all of them right.
bool gather_on_ranks(Communicator* host);

// Runs sums, but rank 1 leaves before its last one; then the others' read must throw.
void leave_in_a_sum(Communicator* host);

}  // namespace seer::testing
