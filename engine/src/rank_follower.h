// The model of a rank other than 0: its part of the weights, of the gates and of the KV cache (or all weights
// and gates, and its pages), and the decoder over them.
#pragma once

#include <memory>

#include "engine/src/ranks_impl.h"
#include "models/model.h"

namespace seer {

class RankFollower {
 public:
  // Loads the weights, together with the other ranks. Throws what loading an engine throws.
  RankFollower(const ModelSource& source, Communicator* comm);
  // Makes cache and decoder of the sizes in rank 0's kAllocateMessage. Before the first step.
  void allocate(const Message& message);
  Decoder& decoder() { return model_.decoder(); }

 private:
  Communicator* comm_;
  Model model_;
  std::unique_ptr<Communicator> device_comm_;  // ends before the backend that it connects
};

}  // namespace seer
