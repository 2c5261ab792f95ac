// Whether pages are brought back or computed again, by what both have taken.
#include "engine/src/tiers/restore_choice.h"

#include "tests/support/catch.h"

namespace seer {
namespace {

TEST_CASE("without measurements restoring is expected to pay, so that it is tried") {
  RestoreChoice choice;
  CHECK(choice.compute_seconds(0, 100, false) == 0.0);
  CHECK(choice.restore_seconds(TierKind::kDisk, 1000) == 0.0);
  CHECK(choice.pays(0.0, 5.0));
  CHECK(choice.pays(5.0, 0.0));
  CHECK(choice.pays(0.0, 0.0));
}

TEST_CASE("the rate of computing is a line over the position, of dense and sparse prompts apart") {
  RestoreChoice choice;
  // A token at position p takes 1 ms + p us.
  const auto seconds = [](int64_t begin, int64_t end) {
    return 1e-3 * static_cast<double>(end - begin) + 0.5e-6 * static_cast<double>(end * end - begin * begin);
  };
  for (int64_t begin = 0; begin < 4096; begin += 512)
    choice.computed(begin, begin + 512, false, seconds(begin, begin + 512));
  CHECK(choice.compute_seconds(0, 1024, false) == Approx(seconds(0, 1024)));
  CHECK(choice.compute_seconds(30000, 32000, false) == Approx(seconds(30000, 32000)));
  CHECK(choice.compute_seconds(0, 1024, true) == 0.0);
  choice.computed(0, 512, true, 1.0);
  CHECK(choice.compute_seconds(0, 1024, true) == Approx(2.0));
}

TEST_CASE("a step begins when it is expected to find each of its layers there in time") {
  const auto in_time = RestoreChoice::in_time;
  CHECK(!in_time(0, 8, 0.0, 1.0));     // nothing was measured yet
  CHECK(!in_time(1, 8, 0.01, 0.0));    // how long the step takes is unknown
  CHECK(in_time(8, 8, 0.08, 0.0));     // everything is there
  CHECK(in_time(1, 8, 0.01, 0.08));    // the step computes a stage in the time of a copy
  CHECK(!in_time(1, 8, 0.01, 0.079));  // the second stage would come too late
  CHECK(in_time(1, 8, 0.01, 10.0));
  // A step takes half of the time of the copies, so 7 of its 8 stages take as long as 3.5 copies. It needs
  // the last stage after these 7. So it can begin when 3 stages are missing, but not when 4 are.
  CHECK(!in_time(4, 8, 0.04, 0.04));
  CHECK(in_time(5, 8, 0.05, 0.04));
  // A short step needs all layers nearly at once, so even the last stage may come too late for it.
  CHECK(!in_time(7, 8, 0.07, 0.01));
  CHECK(in_time(7, 8, 0.07, 0.0115));
}

TEST_CASE("a single chunk, chunks of no time, and chunks that get faster give no absurd rate") {
  PrefillRate rate;
  rate.observe(0, 64, 0.0);
  rate.observe(64, 64, 1.0);
  CHECK(rate.seconds(0, 64) == 0.0);
  rate.observe(0, 64, 0.064);
  CHECK(rate.seconds(0, 64) == Approx(0.064));
  CHECK(rate.seconds(6400, 6464) == Approx(0.064));
  CHECK(rate.seconds(64, 64) == 0.0);
  PrefillRate faster;
  faster.observe(0, 64, 0.064);
  faster.observe(64, 128, 0.032);
  CHECK(faster.seconds(100000, 100064) > 0.03);
  CHECK(faster.seconds(100000, 100064) < 0.064);
}

TEST_CASE("pages come back if that is faster, and now and then if it is not, to learn") {
  RestoreChoice choice;
  choice.restored(TierKind::kDisk, 1000, 2.0);
  CHECK(choice.restore_seconds(TierKind::kDisk, 500) == Approx(1.0));
  CHECK(choice.restore_seconds(TierKind::kHost, 500) == 0.0);
  CHECK(choice.pays(1.0, 1.1));
  int n_tried = 0;
  for (int i = 0; i < 32; ++i) n_tried += choice.pays(1.0, 0.9) ? 1 : 0;
  CHECK(n_tried == 2);
  choice.restored(TierKind::kDisk, 1000, 1.0);  // the last batches count most, and one does not count alone
  CHECK(choice.restore_seconds(TierKind::kDisk, 1000) == Approx(1.7));
}

}  // namespace
}  // namespace seer
