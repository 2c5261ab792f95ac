// Sums over ranks on GPUs, as every rank of a test runs them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/comm/communicator.h"

namespace seer::testing {

struct SumCase {
  int64_t n_rows, width;
  int n_sums;     // one behind the other, of other shares each
  bool recorded;  // as a step that is recorded and replayed, of which each run is n_sums
  bool beside;    // in two parts at a time, beside what follows
};
inline constexpr int kSumRuns = 4;  // of a recorded step

// In one order on every rank; sizes on both sides of where one kernel takes over from the other.
const std::vector<SumCase>& sum_cases();
std::string description(const SumCase& c);

// What bf16 elements come to that start as start_value() and get every rank's shares.
std::vector<uint16_t> expected_sums(const SumCase& c, int n_ranks);

// With a GPU backend on the rank's GPU. Runs all cases and gathers what each rank has: on rank 0
// [case][rank]. `reached`: whether ranks reach one another's memory.
std::vector<std::vector<std::vector<uint16_t>>> run_sum_cases(Communicator* host, bool* reached);

// Shares that every rank gathers: on rank 0, whether all ranks have all of them right.
bool gather_on_ranks(Communicator* host);

// Sums of which rank 1 leaves before its last: the others' read throws.
void leave_in_a_sum(Communicator* host);

}  // namespace seer::testing
