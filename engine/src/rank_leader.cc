#include "engine/src/rank_leader.h"

#include <algorithm>
#include <filesystem>

#include "engine/src/devices.h"

namespace seer {
namespace {

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).string();
}

}  // namespace

RankLeader::RankLeader(const std::shared_ptr<Ranks>& ranks) {
  if (!ranks || ranks->size() == 1) return;
  auto impl = std::dynamic_pointer_cast<RanksImpl>(ranks);
  if (!impl)
    throw Error(ErrorKind::kUsage, "EngineOptions::ranks must come from Ranks::join() or Ranks::start()");
  impl->reserve();
  ranks_ = std::move(impl);
}

RankLeader::~RankLeader() {
  if (!ranks_) return;
  Communicator& comm = ranks_->comm();
  if (told_ && !comm.failure()) {
    try {
      if (ready_) {
        send_message(comm, kUnloadMessage, {});
      } else {
        comm.abort(ErrorKind::kCancelled, "rank 0 did not load the model");
      }
    } catch (const std::exception&) {  // a rank is gone; the next use of the ranks reports it
    }
  }
  device_comm_ = nullptr;
  ranks_->give_back();
}

void RankLeader::load(ModelSource source, Backend* backend) {
  if (!ranks_) return;
  Communicator& comm = ranks_->comm();
  for (std::string* path : {&source.files.model_dir, &source.files.gates_dir, &source.files.more_gates_dir,
                            &source.files.random_config})
    *path = absolute(*path);
  source.timeout_ns = comm.timeout().count();
  std::vector<std::byte> bytes;
  MessageWriter writer(&bytes);
  source.write(&writer);
  told_ = true;
  send_message(comm, kLoadMessage, bytes);
  device_comm_ = connect_devices(&comm, backend);
}

void RankLeader::loaded() {
  if (ranks_) comm()->barrier(Patience::kIdle);
}

int64_t RankLeader::least_room(Backend* backend, double utilization) {
  const DeviceRoom mine = room_on(*backend, utilization);
  if (!ranks_) return mine.left;
  send_message(*comm(), kRoomMessage, {});
  std::vector<DeviceRoom> all(static_cast<size_t>(size()));
  comm()->gather_host(all.data(), &mine, sizeof mine);
  int64_t least = mine.left;
  for (const DeviceRoom& room : all) {
    const auto sharers = std::count_if(all.begin(), all.end(), [&](const DeviceRoom& other) {
      return other.host == room.host && other.device == room.device;
    });
    least = std::min(least, room.left / sharers);
  }
  return least;
}

void RankLeader::allocate(const StepLimits& limits, int64_t n_pages) {
  if (!ranks_) return;
  std::vector<std::byte> bytes;
  MessageWriter writer(&bytes);
  writer.put(limits);
  writer.put(n_pages);
  send_message(*comm(), kAllocateMessage, bytes);
}

void RankLeader::train(const TrainingSource& source) {
  if (!ranks_) return;
  std::vector<std::byte> bytes;
  MessageWriter writer(&bytes);
  source.write(&writer);
  send_message(*comm(), kTrainMessage, bytes);
}

void RankLeader::allocated() {
  if (!ranks_) return;
  comm()->barrier(Patience::kIdle);
  ready_ = true;
}

std::vector<Checksum> RankLeader::fingerprints(const std::function<void()>& mine) {
  if (!ranks_) {
    mine();
    return {};
  }
  std::vector<Checksum> all(static_cast<size_t>(size()));
  const Checksum none;
  send_message(*comm(), kFingerprintMessage, {});
  try {
    mine();
  } catch (const std::exception& error) {
    comm()->abort(ErrorKind::kRuntime, rank_prefix(0, size()) + error.what());
    throw;
  }
  comm()->barrier(Patience::kIdle);
  comm()->gather_host(all.data(), &none, sizeof none);
  all.erase(all.begin());
  return all;
}

}  // namespace seer
