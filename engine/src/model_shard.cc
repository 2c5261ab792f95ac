#include "engine/src/model_shard.h"

#include <charconv>

#include "kernels/comm/nccl.h"

namespace seer {
namespace {

// "cuda": ranks of a machine take its GPUs in turn; "cuda:N": all take that one.
std::unique_ptr<Backend> open_backend(const ModelSource& source, const Communicator& comm) {
  if (source.device == "cpu") return make_cpu_backend(threads_of_rank(comm, source.threads));
  constexpr std::string_view kPrefix = "cuda:";
  int index = comm.local_rank() % std::max(1, cuda_device_count());
  if (source.device.starts_with(kPrefix))
    std::from_chars(source.device.data() + kPrefix.size(), source.device.data() + source.device.size(),
                    index);
  return make_cuda_backend(index);
}

}  // namespace

std::unique_ptr<Communicator> connect_devices(Communicator* comm, Backend* backend) {
  return backend->stream() ? make_nccl_communicator(comm, backend) : nullptr;
}

ModelShard::ModelShard(const ModelSource& source, Communicator* comm)
    : comm_(comm),
      config_(source.random_config.empty() ? ModelConfig::load(source.model_dir)
                                           : ModelConfig::load_file(source.random_config)),
      shard_(source.shard(config_, comm->rank(), comm->size())) {
  comm->set_timeout(std::chrono::nanoseconds(source.timeout_ns));
  backend_ = open_backend(source, *comm);
  if (!source.random_config.empty()) {
    gates_ = GateWeights::random(source.random_config, config_, source.random_seed);
  } else if (!source.gates_dir.empty()) {
    gates_ = GateWeights::load(source.gates_dir, config_);
  }
  if (gates_) gates_->keep(shard_);
  backend_->check_model({config_.d_model, shard_.local.d_ff, config_.d_head, shard_.n_ids(),
                         gates_ ? gates_->config.d_gate : 0, source.page_tokens, source.n_blocks});
  device_comm_ = connect_devices(comm, backend_.get());
  if (device_comm_) comm_ = device_comm_.get();
  if (source.random_config.empty()) {
    weights_ = LlamaWeights::load(source.model_dir, config_, shard_, backend_.get(), [&](int64_t, int64_t) {
      comm_->check({});
      return true;
    });
  } else {
    weights_ = LlamaWeights::random(config_, shard_, backend_.get(), source.random_seed);
  }
  comm_->barrier(Patience::kIdle);  // disks differ
  if (!backend_->memory()) return;
  const DeviceRoom room = room_on(*backend_, source.gpu_memory_utilization);
  comm_->gather_host(nullptr, &room, sizeof room);
}

void ModelShard::allocate(const Message& message) {
  MessageReader reader(message.bytes);
  const auto limits = reader.get<StepLimits>();
  const auto n_pages = reader.get<int64_t>();
  cache_ =
      std::make_unique<KvCache>(backend_.get(), shard_.local, gate_config(), limits.page_tokens, n_pages);
  decoder_ = std::make_unique<Decoder>(backend_.get(), shard_, weights_, gates_ ? &*gates_ : nullptr,
                                       cache_.get(), limits, comm_);
  comm_->barrier(Patience::kIdle);
}

}  // namespace seer
