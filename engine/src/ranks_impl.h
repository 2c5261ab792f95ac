// The implementation of the public Ranks, and the messages of rank 0 to the others.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/src/activations.h"
#include "engine/src/own_process.h"
#include "kernels/comm/communicator.h"
#include "kernels/comm/message.h"
#include "models/distill/trainer.h"
#include "models/model.h"
#include "seer/engine.h"
#include "seer/ranks.h"

namespace seer {

// The kinds of messages besides Decoder::kStepMessage and Trainer::kCommandMessage, with their contents.
enum RankMessage : uint32_t {
  kLoadMessage = Decoder::kStepMessage + 1,  // ModelSource
  kRoomMessage,                              // asks how many bytes each rank may still take
  kAllocateMessage,                          // StepLimits, number of a rank's pages
  kTrainMessage,                             // TrainingSource
  kUnloadMessage,
  kReadPagesMessage,   // see PageTransfer
  kWritePagesMessage,  // likewise; the records follow
  kFingerprintMessage,
  kEndMessage,
};

// Everything that a rank needs to load its part of the model.
struct ModelSource {
  ModelFiles files;
  std::string device;  // cpu, cuda or cuda:N
  int threads = 0;     // 0: the rank's share of the cores
  int64_t page_tokens = 0;
  int64_t n_blocks = 0;
  double gpu_memory_utilization = 0.0;
  int64_t timeout_ns = 0;
  RankSplit split = RankSplit::kTensor;
  DType kv_dtype = DType::kF32;  // of keys and values in pages
  Activations activations = Activations::kAuto;

  // Returns the part of the model that a rank has.
  Shard shard(const ModelConfig& config, int rank, int size) const {
    return split == RankSplit::kTensor ? Shard(config, rank, size) : Shard(config);
  }
  void write(MessageWriter* writer) const;
  static ModelSource read(MessageReader* reader);
};

// What a rank needs to train its part of a loaded model's gates.
struct TrainingSource {
  GateSpec spec;
  TrainerOptions options;
  uint64_t seed = 0;

  void write(MessageWriter* writer) const;
  static TrainingSource read(MessageReader* reader);
};

class RanksImpl final : public Ranks {
 public:
  // `parent_reports`: rank 0 itself notices the end of this process, so the process need not wait until rank
  // 0 has heard of a failure.
  RanksImpl(std::unique_ptr<Communicator> comm, bool parent_reports);
  ~RanksImpl() override;

  int rank() const noexcept override { return comm_->rank(); }
  int size() const noexcept override { return comm_->size(); }
  int core_sharers() const noexcept override { return comm_->core_sharers(); }
  void set_timeout(double seconds) override;
  bool follow() override;

  Communicator& comm() { return *comm_; }
  // Reserves the ranks for one engine. Throws Error{kUsage} if another engine has them.
  void reserve();
  void give_back() noexcept { reserved_ = false; }

 private:
  void obey();

  OwnProcess process_;
  std::unique_ptr<Communicator> comm_;
  bool parent_reports_;
  std::atomic<bool> reserved_{false};
};

// Returns `asked`, or if it is 0, the rank's share of the cores that it may use.
int threads_of_rank(const Communicator& comm, int asked);

// How many bytes a rank may still take on its device, and which device that is.
struct DeviceRoom {
  int64_t left = 0;
  uint64_t host = 0;  // hash of its name
  int64_t device = 0;
};
DeviceRoom room_on(Backend& backend, double utilization);

}  // namespace seer
