// What an engine on rank 0 asks of the other ranks, in this order: load(), loaded(), least_room(),
// allocate(). Where there are none, each does nothing.
#pragma once

#include <memory>

#include "engine/src/ranks_impl.h"
#include "kernels/backend.h"
#include "models/model.h"

namespace seer {

class RankLeader {
 public:
  // Takes the ranks, which may be null. Throws Error{kUsage} where another engine has them.
  explicit RankLeader(const std::shared_ptr<Ranks>& ranks);
  // The others let go of the model. Where the engine did not come to be, no rank can go on.
  ~RankLeader();
  RankLeader(const RankLeader&) = delete;
  RankLeader& operator=(const RankLeader&) = delete;

  int size() const { return ranks_ ? ranks_->size() : 1; }
  int threads(int asked) const { return ranks_ ? threads_of_rank(ranks_->comm(), asked) : asked; }
  // The decoder's; null for one rank.
  Communicator* comm() { return device_comm_ ? device_comm_.get() : ranks_ ? &ranks_->comm() : nullptr; }

  // The others begin to load; GPUs are connected.
  void load(ModelSource source, Backend* backend);
  // Throws where a rank has failed: for whoever is busy with something else.
  void check() {
    if (comm() != nullptr) comm()->check({});
  }
  void loaded();  // waits until every rank has loaded
  // Bytes that any rank may take: `backend` is this one's.
  int64_t least_room(Backend* backend, double utilization);
  // The others make caches and decoders of this size.
  void allocate(const StepLimits& limits, int64_t n_pages);
  void allocated();  // waits until every rank has

 private:
  std::shared_ptr<RanksImpl> ranks_;
  std::unique_ptr<Communicator> device_comm_;
  bool told_ = false, ready_ = false;
};

}  // namespace seer
