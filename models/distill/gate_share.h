// The part of the gates that one rank trains under tensor parallelism: those of its own heads. Tensors that
// all heads of a layer use, such as the norms of gates for decoding, are whole on every rank.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/comm/communicator.h"
#include "models/distill/gate_plan.h"
#include "models/shard.h"

namespace seer {

class GateShare {
 public:
  // Throws Error{kUnsupported} if two ranks would share the weights of a KV head.
  GateShare(const GatePlan& whole, const Shard& shard);

  // Returns the plan of this rank's numbers: the same tensors, with this rank's heads.
  const GatePlan& plan() const { return plan_; }
  // Returns how many numbers of a layer's list no other rank has. Those that every rank has come after them.
  int64_t n_own() const { return n_own_; }
  int64_t n_common() const { return plan_.layer_size() - n_own_; }

  // Returns this rank's part of the numbers of all gates.
  std::vector<float> take(std::span<const float> whole) const;
  // Puts the part of any rank into its places among the numbers of all gates.
  void put(std::span<float> whole, int rank, std::span<const float> part) const;

 private:
  // Calls copy(place in the whole, place in the rank's part, how many numbers) for each tensor of each layer.
  template <class F>
  void each_tensor(int rank, const F& copy) const;

  const GatePlan& whole_;
  GatePlan plan_;
  int rank_;
  int64_t n_own_ = 0;
};

// Replaces the values by their sums over ranks, which have the same bits on every rank: they are added up in
// the order of ranks. Every rank must call it with as many values.
void sum_over_ranks(Communicator& comm, std::span<double> values);

}  // namespace seer
