// Memory that runs out at a chosen moment: the program's operator new counts, and fails when it is told to.
#pragma once

#include <cstdint>

namespace seer::testing {

enum class Shortage {
  kOnce,     // one allocation fails, as a large one would
  kLasting,  // it and all after it fail, until the shortage is over
};

// From its construction to its end, the allocation of this index fails, counted from 0 over all threads.
class AllocationFault {
 public:
  AllocationFault(int64_t index, Shortage shortage);
  ~AllocationFault();
  AllocationFault(const AllocationFault&) = delete;
  AllocationFault& operator=(const AllocationFault&) = delete;

  static bool struck();          // whether the last fault came to that index
  static int64_t n_allocated();  // since the last fault was constructed
};

// Allocations that have not been freed, in the whole program.
int64_t n_live_allocations();

}  // namespace seer::testing
