// A DecoderRunner for each of several ranks, which are threads of the test.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/models/decoder_runner.h"
#include "tests/support/catch.h"
#include "tests/support/thread_ranks.h"

namespace seer::testing {

// Does the same as DecoderRunner with several ranks, each on a thread of its own.
class RankedRunner {
 public:
  RankedRunner(const TinyModel& model, int n_ranks, const RunnerOptions& options = {})
      : RankedRunner(model.path(), n_ranks, options) {}
  RankedRunner(const std::string& model_dir, int n_ranks, const RunnerOptions& options = {})
      : ranks_(n_ranks) {
    runners_.resize(static_cast<size_t>(n_ranks));
    ranks_.run_all([&](Communicator& comm) {
      RunnerOptions mine = options;
      mine.comm = &comm;
      mine.n_threads = 1;
      runners_[static_cast<size_t>(comm.rank())] = std::make_unique<DecoderRunner>(model_dir, mine);
    });
  }
  DecoderRunner& leader() { return *runners_[0]; }
  const DecoderStats& stats() { return leader().stats(); }

  // Runs a step. Returns each rank's error, which is empty if it threw nothing.
  std::vector<std::string> try_step(const std::vector<Part>& prefills, const std::vector<Part>& decodes = {},
                                    const std::vector<int64_t>& rows = {}) {
    return ranks_.run([&](Communicator& comm) {
      if (comm.rank() != 0) return runners_[static_cast<size_t>(comm.rank())]->follow();
      try {
        logits_ = leader().step(prefills, decodes, rows);
      } catch (const std::logic_error& thrown) {  // thrown by the tests' callbacks; the ranks stay in step
        thrown_ = thrown.what();
      }
    });
  }
  Logits step(const std::vector<Part>& prefills, const std::vector<Part>& decodes = {},
              const std::vector<int64_t>& rows = {}) {
    thrown_.clear();
    for (const std::string& error : try_step(prefills, decodes, rows)) CHECK(error.empty());
    return logits_;
  }
  void fill_pages(float value) {
    for (const auto& runner : runners_) runner->fill_pages(value);
  }
  std::string thrown() const { return thrown_; }
  Communicator& comm(int rank) { return ranks_.comm(rank); }

 private:
  ThreadRanks ranks_;
  std::vector<std::unique_ptr<DecoderRunner>> runners_;
  Logits logits_;
  std::string thrown_;
};

}  // namespace seer::testing
