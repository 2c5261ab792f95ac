// Ranks as threads of the test, over shared memory: a communicator for each.
#pragma once

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/comm/shared_memory.h"

namespace seer::testing {

class ThreadRanks {
 public:
  explicit ThreadRanks(int n, std::chrono::nanoseconds timeout = std::chrono::seconds(100)) {
    const std::shared_ptr<SharedRegion> region = SharedRegion::create(n);
    for (int r = 0; r < n; ++r) {
      comms_.push_back(make_shared_memory_communicator(region, r));
      comms_.back()->set_timeout(timeout);
    }
  }

  Communicator& comm(int rank) { return *comms_[static_cast<size_t>(rank)]; }
  int size() const { return static_cast<int>(comms_.size()); }

  // Runs body(comm) on every rank. Returns each rank's error, which is empty if it did not fail. An error is
  // passed on to the other ranks, as when a process ends.
  std::vector<std::string> run(const std::function<void(Communicator&)>& body) {
    std::vector<std::string> errors(comms_.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < comms_.size(); ++r)
      threads.emplace_back([&, r] {
        try {
          body(*comms_[r]);
        } catch (const std::exception& error) {
          errors[r] = error.what();
          comms_[r]->abort(ErrorKind::kRuntime, error.what());
        }
      });
    for (std::thread& thread : threads) thread.join();
    return errors;
  }
  // Does the same, and throws if a rank fails.
  void run_all(const std::function<void(Communicator&)>& body) {
    for (const std::string& error : run(body))
      if (!error.empty()) throw std::runtime_error("a rank failed: " + error);
  }

 private:
  std::vector<std::unique_ptr<Communicator>> comms_;
};

}  // namespace seer::testing
