// Makes memory run out at a chosen moment: the program's operator new counts allocations and fails those that
// it is told to.
#pragma once

#include <cstdint>

namespace seer::testing {

enum class Shortage {
  kOnce,     // one allocation fails, as a large one might
  kLasting,  // this allocation and all later ones fail, until the shortage is over
};

// While it exists, the allocation of this index fails, counted from 0 over all threads.
class AllocationFault {
 public:
  AllocationFault(int64_t index, Shortage shortage);
  ~AllocationFault();
  AllocationFault(const AllocationFault&) = delete;
  AllocationFault& operator=(const AllocationFault&) = delete;

  static bool struck();          // whether the last fault reached its index
  static int64_t n_allocated();  // allocations since the last fault was constructed
};

// Returns how many allocations of the whole program have not been freed.
int64_t n_live_allocations();

}  // namespace seer::testing
