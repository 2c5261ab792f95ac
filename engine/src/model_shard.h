// What a rank other than 0 holds: its part of the weights, of the gates and of the KV cache (or all weights
// and gates, and its pages), and the decoder over them.
#pragma once

#include <memory>
#include <optional>

#include "engine/src/ranks_impl.h"
#include "kernels/backend.h"
#include "models/decoder.h"

namespace seer {

class ModelShard {
 public:
  // Loads the weights, together with the other ranks. Throws what loading an engine throws.
  ModelShard(const ModelSource& source, Communicator* comm);
  // The rest, of which rank 0 says how large it is: a kAllocateMessage. Before the first step.
  void allocate(const Message& message);
  Decoder& decoder() { return *decoder_; }

 private:
  const GateConfig* gate_config() const { return gates_ ? &gates_->config : nullptr; }

  Communicator* comm_;
  ModelConfig config_;
  Shard shard_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> device_comm_;
  std::optional<GateWeights> gates_;
  LlamaWeights weights_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
};

// GPUs exchange tensors by NCCL; null where `backend` is the CPU, whose ranks use `comm` itself. On every
// rank.
std::unique_ptr<Communicator> connect_devices(Communicator* comm, Backend* backend);

}  // namespace seer
