// The requests of rank 0 to the other ranks. Call load() and loaded(); then least_room() and allocate(), or
// train() instead of these two; and at last allocated(). If there are no other ranks, they do nothing.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/base/checksum.h"
#include "engine/src/ranks_impl.h"
#include "kernels/backend.h"
#include "models/model.h"

namespace seer {

class RankLeader {
 public:
  // Takes the ranks, which may be null. Throws Error{kUsage} if another engine uses them.
  explicit RankLeader(const std::shared_ptr<Ranks>& ranks);
  // Tells the others to unload the model. If the engine was not completed, no rank can go on.
  ~RankLeader();
  RankLeader(const RankLeader&) = delete;
  RankLeader& operator=(const RankLeader&) = delete;

  int size() const { return ranks_ ? ranks_->size() : 1; }
  int threads(int asked) const { return ranks_ ? threads_of_rank(ranks_->comm(), asked) : asked; }
  // Returns the decoder's communicator; null if there is only one rank.
  Communicator* comm() { return device_comm_ ? device_comm_.get() : ranks_ ? &ranks_->comm() : nullptr; }

  // Tells the others to load the model, and connects the GPUs.
  void load(ModelSource source, Backend* backend);
  // Throws if a rank has failed. For use during long work that does not communicate.
  void check() {
    if (comm() != nullptr) comm()->check({});
  }
  void loaded();  // waits until every rank has loaded
  // Returns how many bytes every rank can still take on its device. `backend` is this rank's.
  int64_t least_room(Backend* backend, double utilization);
  // Tells the others to make caches and decoders of this size.
  void allocate(const StepLimits& limits, int64_t n_pages);
  // Tells the others to make trainers of gates.
  void train(const TrainingSource& source);
  void allocated();  // waits until every rank has made them
  // Returns the checksums of the other ranks' fingerprints, in the order of ranks. `mine` computes this
  // rank's part meanwhile. The caller must have the scheduler's turn.
  std::vector<Checksum> fingerprints(const std::function<void()>& mine);

 private:
  std::shared_ptr<RanksImpl> ranks_;
  std::unique_ptr<Communicator> device_comm_;
  bool told_ = false, ready_ = false;
};

}  // namespace seer
