#include "tests/fault/sweep.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "seer/error.h"
#include "tests/fault/allocations.h"
#include "tests/fault/points.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

constexpr unsigned kHang = 120;  // seconds that one point may take

// Runs `body` with the fault, and returns whether it threw. An exception other than those allowed for a
// shortage fails the case.
bool fails(int64_t index, Shortage shortage, const std::function<void()>& body) {
  ::alarm(kHang);
  std::exception_ptr thrown;
  {
    const AllocationFault fault(index, shortage);
    try {
      body();
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  ::alarm(0);
  if (!thrown) return false;
  try {
    std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
  } catch (const Error& e) {
    INFO(index << ": " << e.what());
    CHECK(std::string(e.what()).find("std::") == std::string::npos);
  } catch (const std::exception& e) {
    FAIL_CHECK("allocation " << index << " ended in: " << e.what());
  }
  return true;
}

// Returns how many allocations `body` makes if all succeed.
int64_t count(const std::function<void()>& body) {
  const AllocationFault none(INT64_MAX, Shortage::kOnce);
  body();
  return AllocationFault::n_allocated();
}

// Reports the point at which the program ended, by an exception in a thread or a destructor.
struct Point {
  static inline const char* what = "";
  static inline int64_t index = 0;
  static void report() {
    std::cerr << "std::terminate at allocation " << index << " of " << what << std::endl;
    std::abort();
  }
};

}  // namespace

void sweep(const char* what, int64_t wanted, const std::function<void()>& prepare,
           const std::function<void()>& body, const std::function<void()>& after) {
  std::set_terminate(Point::report);
  Point::what = what;
  for (int i = 0; i < 2; ++i) {  // the first run makes what is made once and kept
    prepare();
    body();
    after();
  }
  prepare();
  const int64_t n = count(body);
  after();
  REQUIRE(n > 16);
  int64_t n_tried = 0, n_failed = 0;
  for (const Shortage shortage : {Shortage::kOnce, Shortage::kLasting}) {
    for (const int64_t i : fault_points(n, wanted)) {
      Point::index = i;
      CAPTURE(what, i);
      prepare();
      const bool failed = fails(i, shortage, body);
      // Threads share what they allocate, so one run may make a few allocations less than another.
      n_tried += AllocationFault::struck() ? 1 : 0;
      n_failed += failed ? 1 : 0;
      after();
    }
  }
  std::cout << what << ": " << n << " allocations, " << n_tried << " made to fail, " << n_failed
            << " of which ended the call" << std::endl;
  CHECK(n_tried > 0);
  CHECK(n_failed > n_tried / 2);
}

}  // namespace seer::testing
