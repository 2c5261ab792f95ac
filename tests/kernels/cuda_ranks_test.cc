// Ranks on GPUs that reach one another's memory; with fewer GPUs than ranks they share one.
#include "kernels/comm/processes.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/rank_sums.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

TEST_CASE("cuda ranks: sums over shared memory have the same, right bits on every rank") {
  if (!gpu()) return;
  for (const int n_ranks : {2, 3}) {
    const auto host = start_ranks(n_ranks, {SEER_RANK_WORKER, "sums"});
    bool reached = false;
    const auto results = run_sum_cases(host.get(), &reached);
    if (!reached) return skip("these GPUs do not reach one another's memory");
    REQUIRE(results.size() == sum_cases().size());
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<uint16_t> expected = expected_sums(sum_cases()[i], n_ranks);
      for (int r = 0; r < n_ranks; ++r) {
        INFO(description(sum_cases()[i]) << ", rank " << r << " of " << n_ranks);
        CHECK((results[i][static_cast<size_t>(r)] == expected));
      }
    }
  }
}

TEST_CASE("cuda ranks: shares of any size are gathered whole, and may be written again at once") {
  if (!gpu()) return;
  for (const int n_ranks : {2, 3}) {
    const auto host = start_ranks(n_ranks, {SEER_RANK_WORKER, "gather"});
    try {
      CHECK(gather_on_ranks(host.get()));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kUnsupported)
        return skip("these GPUs do not reach one another's memory");
      throw;
    }
  }
}

TEST_CASE("cuda ranks: a rank that is gone ends the others' sums with an error that names it") {
  if (!gpu()) return;
  const auto host = start_ranks(2, {SEER_RANK_WORKER, "leave"});
  try {
    leave_in_a_sum(host.get());
    FAIL("the sum ended");
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kUnsupported) return skip("these GPUs do not reach one another's memory");
    CHECK(error.kind() == ErrorKind::kDevice);
    CHECK_THAT(error.what(), ContainsSubstring("rank 1 of 2 ended with exit code 9"));
  }
}

}  // namespace
}  // namespace seer::testing
