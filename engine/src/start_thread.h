// Starts threads, for which there may be no memory.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "seer/error.h"

namespace seer {

// Starts a thread that runs `body`. Throws Error{kMemory} if the system has no room for its stack; `purpose`
// says in the message what the thread is for.
template <class Body>
std::thread start_thread(const std::string& purpose, Body&& body) {
  try {
    return std::thread(std::forward<Body>(body));
  } catch (const std::system_error& e) {
    throw Error(ErrorKind::kMemory,
                "no thread could be started " + purpose + ": " + e.what() +
                    ". Its stack needs memory: use fewer --threads, a smaller --ctx-size, "
                    "or a machine with more memory.");
  }
}

}  // namespace seer
