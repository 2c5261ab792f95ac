// The model of a rank other than 0, and the decoder or the trainer of gates that uses it. The rank has its
// part of the weights, of the gates and of the KV cache (tensor parallelism), or all weights and gates and
// its own pages (context parallelism).
#pragma once

#include <memory>
#include <optional>

#include "engine/src/page_transfer.h"
#include "engine/src/ranks_impl.h"
#include "models/model.h"

namespace seer {

class RankFollower {
 public:
  // Loads the weights at the same time as the other ranks. `comm` must outlive the follower. Throws the
  // errors of loading an engine.
  RankFollower(const ModelSource& source, Communicator* comm);
  // Makes the cache and the decoder, with the sizes in rank 0's kAllocateMessage. Must be called before the
  // first step.
  void allocate(const Message& message);
  // Makes the trainer of this rank's gates, by rank 0's kTrainMessage. Must be called before the first
  // message of a trainer.
  void train(const Message& message);
  void tell_room();  // how many bytes this rank can still take on its device
  // Does what a message of rank 0's decoder or trainer says.
  void follow(const Message& message);
  PageTransfer& pages() { return *pages_; }
  // Sends rank 0 the checksum of this rank's page_fingerprint().
  void send_fingerprint();

 private:
  Communicator* comm_;
  double gpu_memory_utilization_;
  Model model_;
  RankSplit split_;
  int n_threads_;
  int64_t page_tokens_ = 0;
  std::optional<PageTransfer> pages_;
  std::unique_ptr<Communicator> device_comm_;  // destroyed before the backend that it uses
  std::unique_ptr<GatePlan> plan_;
  std::unique_ptr<Trainer> trainer_;  // declared last, because it uses all of the above
};

}  // namespace seer
