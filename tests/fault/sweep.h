// Tries what happens if memory runs out at each moment of a piece of work.
#pragma once

#include <cstdint>
#include <functional>

namespace seer::testing {

// Runs `body` again and again, and lets another of its allocations fail each time: once, and then it and all
// after it. `wanted` of the points are tried, spread over them; SEER_ALL_FAULTS=1 tries every one, which
// takes minutes, and SEER_FAULT=N the point N alone. Each run must end within two minutes, in success,
// std::bad_alloc or seer::Error. `prepare` runs before each, and `after` after it, both with all the memory
// they ask for: there the caller checks that nothing is leaked or broken. `what` names the work in messages.
void sweep(const char* what, int64_t wanted, const std::function<void()>& prepare,
           const std::function<void()>& body, const std::function<void()>& after);

}  // namespace seer::testing
