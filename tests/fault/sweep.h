// Tries a shortage of memory at each moment of a piece of work.
#pragma once

#include <cstdint>
#include <functional>

namespace seer::testing {

// Runs `body` again and again, and makes another of its allocations fail each time: first that one alone,
// then that one and all later ones. It tries `wanted` of the points, spread over them; SEER_ALL_FAULTS=1
// tries every one, which takes minutes, and SEER_FAULT=N the point N alone. Each run must end within two
// minutes, in success, std::bad_alloc or seer::Error. `prepare` runs before each and `after` after it, both
// with enough memory; `after` must check that nothing is leaked or broken. `what` names the work in messages.
void sweep(const char* what, int64_t wanted, const std::function<void()>& prepare,
           const std::function<void()>& body, const std::function<void()>& after);

}  // namespace seer::testing
