#include "engine/src/ranks_impl.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>

#include "engine/src/rank_follower.h"
#include "kernels/comm/mpi.h"
#include "kernels/comm/processes.h"
#include "kernels/cpu/cores.h"

namespace seer {
namespace {

// How long other ranks are given to end. Rank 0 reports the error and ends, and the launcher then ends the
// others. A rank that still runs after this time reports the error itself.
constexpr auto kHeardWithin = std::chrono::seconds(10);
constexpr double kLongestTimeout = 1e6;

}  // namespace

void ModelSource::write(MessageWriter* writer) const {
  for (const std::string* text :
       {&files.model_dir, &files.gates_dir, &files.more_gates_dir, &files.random_config, &device})
    writer->put_text(*text);
  writer->put(threads);
  writer->put(page_tokens);
  writer->put(n_blocks);
  writer->put(gpu_memory_utilization);
  writer->put(files.random_seed);
  writer->put(files.weights);
  writer->put(timeout_ns);
  writer->put(split);
  writer->put(kv_dtype);
  writer->put(activations);
}

ModelSource ModelSource::read(MessageReader* reader) {
  ModelSource s;
  for (std::string* text :
       {&s.files.model_dir, &s.files.gates_dir, &s.files.more_gates_dir, &s.files.random_config, &s.device})
    *text = reader->get_text();
  s.threads = reader->get<int>();
  s.page_tokens = reader->get<int64_t>();
  s.n_blocks = reader->get<int64_t>();
  s.gpu_memory_utilization = reader->get<double>();
  s.files.random_seed = reader->get<uint64_t>();
  s.files.weights = reader->get<WeightFormat>();
  s.timeout_ns = reader->get<int64_t>();
  s.split = reader->get<RankSplit>();
  s.kv_dtype = reader->get<DType>();
  s.activations = reader->get<Activations>();
  return s;
}

void TrainingSource::write(MessageWriter* writer) const {
  writer->put_text(spec.type);
  writer->put(spec.block);
  writer->put(spec.d_gate);
  for (const bool flag : {spec.decode, spec.force_double, spec.norms, spec.rotates}) writer->put(flag);
  writer->put(options);
  writer->put(seed);
}

TrainingSource TrainingSource::read(MessageReader* reader) {
  TrainingSource s;
  s.spec.type = reader->get_text();
  s.spec.block = reader->get<int64_t>();
  s.spec.d_gate = reader->get<int64_t>();
  for (bool* flag : {&s.spec.decode, &s.spec.force_double, &s.spec.norms, &s.spec.rotates})
    *flag = reader->get<bool>();
  s.options = reader->get<TrainerOptions>();
  s.seed = reader->get<uint64_t>();
  return s;
}

std::shared_ptr<Ranks> Ranks::join() {
  if (std::unique_ptr<Communicator> comm = join_started_rank())
    return shared_here(std::make_unique<RanksImpl>(std::move(comm), /*parent_reports=*/true));
  if (!started_by_mpi()) return nullptr;
  return shared_here(std::make_unique<RanksImpl>(make_mpi_communicator(), /*parent_reports=*/false));
}

std::shared_ptr<Ranks> Ranks::start(int n, const std::vector<std::string>& command) {
  return shared_here(std::make_unique<RanksImpl>(start_ranks(n, command), /*parent_reports=*/true));
}

RanksImpl::RanksImpl(std::unique_ptr<Communicator> comm, bool parent_reports)
    : comm_(std::move(comm)), parent_reports_(parent_reports) {}

RanksImpl::~RanksImpl() {
  if (rank() != 0 || comm_->failure()) return;
  try {
    send_message(*comm_, kEndMessage, {});
    comm_->barrier(Patience::kStep);
  } catch (const std::exception&) {  // a rank is gone, so there is no rank left to tell
  }
}

void RanksImpl::set_timeout(double seconds) {
  process_.check("Ranks");
  if (!(seconds > 0.0 && seconds <= kLongestTimeout))
    throw Error(ErrorKind::kUsage, "expected a timeout between ranks above 0 and at most " +
                                       std::to_string(static_cast<int64_t>(kLongestTimeout)) +
                                       " seconds, found " + std::to_string(seconds));
  comm_->set_timeout(std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)));
}

void RanksImpl::reserve() {
  process_.check("Ranks");
  if (rank() != 0)
    throw Error(ErrorKind::kUsage, "an engine was loaded on rank " + std::to_string(rank()) +
                                       ": expected it on rank 0 alone; the others call Ranks::follow()");
  if (reserved_.exchange(true))
    throw Error(ErrorKind::kUsage, "these ranks hold another engine's model: destroy that engine first");
}

bool RanksImpl::follow() {
  process_.check("Ranks");
  if (rank() == 0) throw Error(ErrorKind::kUsage, "rank 0 leads: expected follow() on the other ranks alone");
  try {
    obey();
    return true;
  } catch (const Error& error) {
    comm_->abort(error.kind(), rank_prefix(rank(), size()) + error.what());  // only the first failure counts
  } catch (const std::bad_alloc&) {
    comm_->abort(ErrorKind::kMemory, rank_prefix(rank(), size()) + "out of memory");
  } catch (const std::exception& error) {
    comm_->abort(ErrorKind::kRuntime, rank_prefix(rank(), size()) + error.what());
  }
  if (parent_reports_) return false;
  std::this_thread::sleep_for(kHeardWithin);
  throw *comm_->failure();
}

void RanksImpl::obey() {
  Message message;
  std::unique_ptr<RankFollower> model;
  for (;;) {
    receive_message(*comm_, &message);
    switch (message.kind) {
      case Decoder::kStepMessage:
      case Trainer::kCommandMessage:
        model->follow(message);
        break;
      case kLoadMessage: {
        MessageReader reader(message.bytes);
        model = std::make_unique<RankFollower>(ModelSource::read(&reader), comm_.get());
        break;
      }
      case kRoomMessage:
        model->tell_room();
        break;
      case kAllocateMessage:
        model->allocate(message);
        break;
      case kTrainMessage:
        model->train(message);
        break;
      case kReadPagesMessage:
        model->pages().follow_read(message);
        break;
      case kWritePagesMessage:
        model->pages().follow_write(message);
        break;
      case kFingerprintMessage:
        model->send_fingerprint();
        break;
      case kUnloadMessage:
        model = nullptr;
        break;
      case kEndMessage:
        model = nullptr;
        comm_->barrier(Patience::kStep);
        return;
      default:
        throw Error(ErrorKind::kDevice,
                    "rank 0 sent a message of kind " + std::to_string(message.kind) +
                        ", which this version does not know: expected the same program on "
                        "every rank");
    }
  }
}

int threads_of_rank(const Communicator& comm, int asked) {
  return asked != 0 || comm.size() == 1 ? asked : std::max(1, available_cores() / comm.core_sharers());
}

DeviceRoom room_on(Backend& backend, double utilization) {
  DeviceRoom room;
  const std::optional<Backend::Memory> memory = backend.memory();
  const std::optional<DeviceStream> stream = backend.stream();
  if (!memory) return room;
  room.left =
      static_cast<int64_t>(utilization * static_cast<double>(memory->total)) - (memory->total - memory->free);
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) == 0) room.host = std::hash<std::string_view>{}(host);
  room.device = stream ? stream->device : 0;
  return room;
}

}  // namespace seer
