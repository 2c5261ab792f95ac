#include <cassert>
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "kernels/comm/communicator.h"

namespace seer {
namespace {

class LocalCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  int core_sharers() const override { return 1; }

  void all_reduce_sum(const Tensor&) override {}
  // A single rank has nothing to send: its tensors are already in their places.
  void gather([[maybe_unused]] const Tensor& out, [[maybe_unused]] const Tensor& mine,
              std::span<const int64_t>) override {
    assert(out.data == mine.data);
  }
  void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    gather(out, mine, counts);
  }

  void broadcast(void*, int64_t, Patience) override {}
  void gather_host(void* all, const void* mine, int64_t bytes) override {
    if (bytes > 0) std::memcpy(all, mine, static_cast<size_t>(bytes));
  }
  void barrier(Patience) override {}

  void check(std::chrono::nanoseconds) override {}
  void abort(ErrorKind kind, const std::string& message) noexcept override {
    if (!failure_) failure_ = Error(kind, message);
  }
  std::optional<Error> failure() const override { return failure_; }
  void set_timeout(std::chrono::nanoseconds timeout) override { timeout_ = timeout; }
  std::chrono::nanoseconds timeout() const override { return timeout_; }

 private:
  std::optional<Error> failure_;
  std::chrono::nanoseconds timeout_ = kDefaultRankTimeout;
};

[[noreturn]] void refuse_shared() {
  throw Error(ErrorKind::kUnsupported,
              "these ranks do not reach one another's memory: expected a communicator whose share_memory() "
              "gives some");
}

}  // namespace

std::string rank_prefix(int rank, int size) {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return "rank " + std::to_string(rank) + " of " + std::to_string(size) +
         (host[0] == '\0' ? "" : " (" + std::string(host) + ")") + ": ";
}

std::string waited_text(std::chrono::nanoseconds time) {
  char text[64];
  std::snprintf(text, sizeof text, "waited %g s", std::chrono::duration<double>(time).count());
  return text;
}

void Communicator::add_sum(const Tensor&, const Tensor&) { refuse_shared(); }
int Communicator::start_sum(const Tensor&, const Tensor&, const Tensor&) { refuse_shared(); }
void Communicator::finish_sum(int) { refuse_shared(); }
void Communicator::all_gather_small(const Tensor&, const Tensor&) { refuse_shared(); }

std::unique_ptr<Communicator> make_local_communicator() { return std::make_unique<LocalCommunicator>(); }

}  // namespace seer
