// How the processes that compute one model together exchange data. Each of them is a rank. Rank 0 leads: it
// knows the requests, and the other ranks compute the steps that it broadcasts.
//
// Every rank makes the same calls in the same order with the same sizes. One thread at a time.
// No wait for the other ranks is endless. It ends in Error{kDevice} if a rank has ended or, with
// Patience::kStep, if a rank has not arrived within the timeout; and it ends in the error that a rank has
// reported by abort(). After that, every call throws the same error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/tensor.h"
#include "seer/error.h"

namespace seer {

class Backend;

// How long a call waits for the other ranks.
enum class Patience {
  kStep,  // no longer than the timeout, because they are at work on the same step
  kIdle,  // as long as they live, because they may wait for a user or read gigabytes
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // This rank's number among the ranks on its host.
  virtual int local_rank() const = 0;
  // The number of ranks on this host, this one included, that may run on the same CPU cores as this one.
  virtual int core_sharers() const = 0;

  // ---- tensors on the device: these calls are ordered after the operations that the Backend was given ----

  virtual void all_reduce_sum(const Tensor& t) = 0;  // in place; every rank gets the same values
  // On rank 0, out gets the ranks' tensors one after the other; rank r gives counts[r] elements. `out`
  // is ignored on other ranks.
  virtual void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) = 0;
  // The same, on every rank.
  virtual void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) = 0;

  // ---- sums through memory that ranks share: Error{kUnsupported} if share_memory() has returned null ----

  // Returns memory of this device that other ranks read and write. It lasts as long as the communicator.
  // Every rank calls this at most once, with the same size. If any rank cannot reach the memory of another,
  // all of them get null. Throws Error{kMemory}.
  virtual void* share_memory([[maybe_unused]] int64_t bytes) { return nullptr; }
  // x += the sum over ranks of `summand`, added in float32 and rounded once, with the same bits on every
  // rank. x has the type of activations; `summand` is float32 and has as many elements, a multiple of 8. Both
  // lie in the shared memory, at the same place on every rank. If `summand` has at most kSmallSummand
  // elements, other ranks may still read it after this call: write to it again only after the add_sum of
  // another summand.
  virtual void add_sum(const Tensor& x, const Tensor& summand);
  // Asynchronous add_sum() for more than kSmallSummand elements. Returns a ticket; do not touch the three
  // tensors until finish_sum(ticket) has returned. `inbox` has the type, size and memory of `summand`, and
  // receives the other ranks' summands. At most kMostSums may be under way.
  virtual int start_sum(const Tensor& x, const Tensor& summand, const Tensor& inbox);
  virtual void finish_sum(int ticket);
  static constexpr int kMostSums = 2;
  // all_gather() for small float32 tensors of the same size on every rank. `mine` lies in the shared memory,
  // at the same place on every rank; operations after this call may write to it.
  virtual void all_gather_small(const Tensor& out, const Tensor& mine);
  static constexpr int64_t kSmallSummand = 1 << 18;

  // ---- bytes on the host ----

  virtual void broadcast(void* data, int64_t bytes, Patience patience) = 0;  // from rank 0
  // On rank 0, `all` [size, bytes] gets the bytes of every rank, in the order of ranks. Elsewhere it is null.
  virtual void gather_host(void* all, const void* mine, int64_t bytes) = 0;
  virtual void barrier(Patience patience) = 0;

  // ---- failure ----

  // Throws if a rank has failed, or if `waited`, the time for which the caller has waited for a step, is
  // longer than the timeout. Returns at once otherwise.
  virtual void check(std::chrono::nanoseconds waited) = 0;
  // Tells every rank that this one cannot go on. From then on, the calls of all ranks throw an Error of this
  // kind with this message, which the caller begins with rank_prefix(). Only the first failure counts.
  virtual void abort(ErrorKind kind, const std::string& message) noexcept = 0;
  // The error that every call throws, if a rank has failed.
  virtual std::optional<Error> failure() const = 0;

  virtual void set_timeout(std::chrono::nanoseconds timeout) = 0;
  virtual std::chrono::nanoseconds timeout() const = 0;
};

constexpr std::chrono::seconds kDefaultRankTimeout{60};

// "rank 1 of 4 (host): ", which goes in front of the message of a rank's failure.
std::string rank_prefix(int rank, int size);

// "waited 0.5 s".
std::string waited_text(std::chrono::nanoseconds time);

// The communicator of a single rank, which has nobody to wait for.
std::unique_ptr<Communicator> make_local_communicator();

}  // namespace seer
