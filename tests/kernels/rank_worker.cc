// The other ranks of cuda_ranks_test.cc. Each does the work that the test names.
#include <cstdio>
#include <cstring>

#include "kernels/comm/processes.h"
#include "tests/kernels/rank_sums.h"

int main(int argc, char** argv) {
  const auto host = seer::join_started_rank();
  if (!host || argc != 2) {
    std::fputs("rank_worker: expected to be started by a test, with what to do\n", stderr);
    return 2;
  }
  try {
    bool reached = false;
    if (std::strcmp(argv[1], "sums") == 0) {
      (void)seer::testing::run_sum_cases(host.get(), &reached);
    } else if (std::strcmp(argv[1], "gather") == 0) {
      (void)seer::testing::gather_on_ranks(host.get());
    } else {
      seer::testing::leave_in_a_sum(host.get());
    }
    return 0;
  } catch (const seer::Error& error) {
    host->abort(error.kind(), seer::rank_prefix(host->rank(), host->size()) + error.what());
  } catch (const std::exception& error) {
    host->abort(seer::ErrorKind::kRuntime, error.what());
  }
  return 1;
}
