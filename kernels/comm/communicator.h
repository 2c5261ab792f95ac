// The processes that compute one model together, and what they say to each other. A rank is one of them; rank
// 0 leads: it knows the requests, and the others compute what it broadcasts.
//
// Every rank makes the same calls in the same order with the same sizes. One thread at a time.
// A wait for the others is never endless: it ends in Error{kDevice} once a rank has ended, has said that it
// failed, or (Patience::kStep) has not come within the timeout. From then on every call throws that same
// error.
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

enum class Patience {
  kStep,  // the others are at work on the same step: as long as the timeout
  kIdle,  // they may wait for a user or read gigabytes: as long as they live
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Of the ranks on this rank's host: its number there, and how many of them may run on the same CPU cores.
  virtual int local_rank() const = 0;
  virtual int core_sharers() const = 0;

  // ---- tensors on the device, as operations of its Backend: ordered behind those before them ----

  virtual void all_reduce_sum(const Tensor& t) = 0;  // in place; every rank gets the same values
  // out: the ranks' tensors one behind the other; rank r gives counts[r] elements. On rank 0 alone (`out` is
  // not looked at elsewhere), or on every rank.
  virtual void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) = 0;
  virtual void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) = 0;

  // ---- for ranks that reach one another's memory; Error{kUnsupported} where share_memory() gives none ----

  // Memory of this device that other ranks read and write, which lasts as long as the communicator. Every
  // rank calls it, at most once, with the same size; null on all of them where one does not reach another's.
  // Throws Error{kMemory}.
  virtual void* share_memory([[maybe_unused]] int64_t bytes) { return nullptr; }
  // x += the sum over ranks of `share`, added in float32, rounded once, with the same bits on every rank. x
  // in the type of activations, `share` float32 of as many elements, a multiple of 8; both of the shared
  // memory, at the same place on every rank. Another rank may still read a share of up to kSmallShare
  // elements: it may be written again behind the add_sum of another one.
  virtual void add_sum(const Tensor& x, const Tensor& share);
  // The same beside the backend's operations that follow, for more than kSmallShare elements: the tensors are
  // theirs again behind finish_sum() of the number this returns. `inbox` is as `share`, and gets others'
  // shares. At most kMostSums are under way.
  virtual int start_sum(const Tensor& x, const Tensor& share, const Tensor& inbox);
  virtual void finish_sum(int sum);
  static constexpr int kMostSums = 2;
  // all_gather() of little: float32, of one size on every rank, `mine` of the shared memory and at the same
  // place on every rank. It may be written again at once.
  virtual void gather_shares(const Tensor& out, const Tensor& mine);
  static constexpr int64_t kSmallShare = 1 << 18;

  // ---- bytes on the host ----

  virtual void broadcast(void* data, int64_t bytes, Patience patience) = 0;  // from rank 0
  // all: [size, bytes], on rank 0; null elsewhere.
  virtual void gather_host(void* all, const void* mine, int64_t bytes) = 0;
  virtual void barrier(Patience patience) = 0;

  // ---- failure ----

  // Throws where a rank has failed; waits for nobody. `waited`: how long the caller has waited for a step.
  virtual void check(std::chrono::nanoseconds waited) = 0;
  // Tells every rank that this one cannot go on: their calls, and from here on this one's, throw Error of
  // this kind with the message, led by which rank it was. The first failure counts.
  virtual void abort(ErrorKind kind, const std::string& message) noexcept = 0;
  // Where a rank failed: what every call throws.
  virtual std::optional<Error> failure() const = 0;

  virtual void set_timeout(std::chrono::nanoseconds timeout) = 0;
  virtual std::chrono::nanoseconds timeout() const = 0;
};

constexpr std::chrono::seconds kDefaultRankTimeout{60};

// "rank 1 of 4 (host): ", in front of what it failed with.
std::string rank_prefix(int rank, int size);

// "waited 0.5 s".
std::string waited_text(std::chrono::nanoseconds time);

// One rank, for whom every call is done at once.
std::unique_ptr<Communicator> make_local_communicator();

}  // namespace seer
