#include "engine/src/rank_follower.h"

#include "engine/src/devices.h"
#include "models/page_fingerprint.h"

namespace seer {

RankFollower::RankFollower(const ModelSource& source, Communicator* comm)
    : comm_(comm),
      gpu_memory_utilization_(source.gpu_memory_utilization),
      model_(source.files),
      split_(source.split),
      n_threads_(threads_of_rank(*comm, source.threads)) {
  const Shard shard = source.shard(model_.config(), comm->rank(), comm->size());
  comm->set_timeout(std::chrono::nanoseconds(source.timeout_ns));
  model_.open(open_rank_device(source.device, n_threads_, source.activations, *comm), shard, source.kv_dtype);
  model_.check(source.page_tokens, source.n_blocks);
  device_comm_ = connect_devices(comm, &model_.backend());
  if (device_comm_) comm_ = device_comm_.get();
  model_.load([&](int64_t, int64_t) {
    comm_->check({});
    return true;
  });
  comm_->barrier(Patience::kIdle);  // another rank may have a slower disk
}

void RankFollower::tell_room() {
  const DeviceRoom room = room_on(model_.backend(), gpu_memory_utilization_);
  comm_->gather_host(nullptr, &room, sizeof room);
}

void RankFollower::allocate(const Message& message) {
  MessageReader reader(message.bytes);
  const auto limits = reader.get<StepLimits>();
  const auto n_pages = reader.get<int64_t>();
  model_.allocate(limits, n_pages, comm_);
  pages_.emplace(model_, comm_, split_ == RankSplit::kContext, n_pages);
  page_tokens_ = limits.page_tokens;
  comm_->barrier(Patience::kIdle);
}

void RankFollower::train(const Message& message) {
  MessageReader reader(message.bytes);
  const TrainingSource source = TrainingSource::read(&reader);
  plan_ = std::make_unique<GatePlan>(source.spec, model_.files().model_dir, model_.config());
  trainer_ = std::make_unique<Trainer>(model_, *plan_, source.options, source.seed, comm_);
  comm_->barrier(Patience::kIdle);
}

void RankFollower::follow(const Message& message) {
  if (trainer_) return trainer_->follow(message);
  model_.decoder().follow(message);
}

void RankFollower::send_fingerprint() {
  const Checksum mine = checksum_of(page_fingerprint(model_, page_tokens_, n_threads_));
  comm_->barrier(Patience::kIdle);  // another rank may have a slower disk
  comm_->gather_host(nullptr, &mine, sizeof mine);
}

}  // namespace seer
