#include "kernels/comm/nccl.h"

#include <nccl.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/peer/peer_memory.h"
#include "kernels/cuda/shared_library.h"
#include "kernels/cuda/side_stream.h"

namespace seer {
namespace {

// The library is opened when ranks meet. Most runs have one GPU and need not load 200 MB for it.
class NcclLibrary {
 public:
  NcclLibrary() {
    // Tries the loader's search path first, then the path that the build found.
    const cuda::SharedLibrary library(std::array{"libnccl.so.2", SEER_NCCL_LIBRARY}, ErrorKind::kUnsupported,
                                      "ranks on GPUs need NCCL",
                                      "Install libnccl2, or name its folder in LD_LIBRARY_PATH.");
    library.find(get_unique_id, "ncclGetUniqueId");
    library.find(init_rank, "ncclCommInitRank");
    library.find(abort, "ncclCommAbort");
    library.find(destroy, "ncclCommDestroy");
    library.find(async_error, "ncclCommGetAsyncError");
    library.find(error_string, "ncclGetErrorString");
    library.find(last_error, "ncclGetLastError");
    library.find(all_reduce, "ncclAllReduce");
    library.find(broadcast, "ncclBroadcast");
    library.find(send, "ncclSend");
    library.find(recv, "ncclRecv");
    library.find(group_start, "ncclGroupStart");
    library.find(group_end, "ncclGroupEnd");
  }

  decltype(&::ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&::ncclCommInitRank) init_rank = nullptr;
  decltype(&::ncclCommAbort) abort = nullptr;
  decltype(&::ncclCommDestroy) destroy = nullptr;
  decltype(&::ncclCommGetAsyncError) async_error = nullptr;
  decltype(&::ncclGetErrorString) error_string = nullptr;
  decltype(&::ncclGetLastError) last_error = nullptr;
  decltype(&::ncclAllReduce) all_reduce = nullptr;
  decltype(&::ncclBroadcast) broadcast = nullptr;
  decltype(&::ncclSend) send = nullptr;
  decltype(&::ncclRecv) recv = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
};

ncclDataType_t nccl_type(DType dtype) {
  assert(dtype == DType::kF32 || dtype == DType::kBF16);
  return dtype == DType::kBF16 ? ncclBfloat16 : ncclFloat32;
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator* host, Backend* backend) : host_(*host), backend_(*backend) {
    const std::optional<DeviceStream> stream = backend->stream();
    assert(stream);
    device_ = stream->device;
    stream_ = static_cast<cudaStream_t>(stream->stream);
    use();
    const bool parted = part_ranks_of_one_gpu();
    ncclUniqueId id{};
    if (rank() == 0) check_nccl(nccl_.get_unique_id(&id), "ncclGetUniqueId");
    host_.broadcast(&id, sizeof id, Patience::kStep);
    host_.barrier(Patience::kStep);  // NCCL itself would wait without end for a rank that is gone
    const ncclResult_t connected = nccl_.init_rank(&comm_, size(), id, rank());
    if (parted) ::unsetenv(kHostId);  // the variable must not reach ranks that this process may start
    check_nccl(connected, "ncclCommInitRank");
    backend_.set_wait_check([this](std::chrono::nanoseconds waited) { check(waited); });
  }
  ~NcclCommunicator() override {
    backend_.set_wait_check({});
    backend_.forget_recordings();  // NCCL waits for every graph that holds its kernels
    const bool failed = host_.failure().has_value();
    if (failed && peers_) peers_->stop();
    if (comm_ != nullptr) (void)(failed ? nccl_.abort(comm_) : nccl_.destroy(comm_));
    if (peers_) part_from_peers(failed);
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  int local_rank() const override { return host_.local_rank(); }
  int core_sharers() const override { return host_.core_sharers(); }

  void all_reduce_sum(const Tensor& t) override {
    use();
    check_nccl(nccl_.all_reduce(t.data, t.data, static_cast<size_t>(t.numel()), nccl_type(t.dtype), ncclSum,
                                comm_, stream_),
               "ncclAllReduce");
  }
  void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    use();
    const ncclDataType_t type = nccl_type(mine.dtype);
    check_nccl(nccl_.group_start(), "ncclGroupStart");
    // Rank 0 sends to itself too; NCCL then copies on the device.
    check_nccl(nccl_.send(mine.data, static_cast<size_t>(counts[static_cast<size_t>(rank())]), type, 0, comm_,
                          stream_),
               "ncclSend");
    int64_t begin = 0;
    for (int r = 0; rank() == 0 && r < size(); ++r) {
      const int64_t n = counts[static_cast<size_t>(r)];
      check_nccl(nccl_.recv(static_cast<char*>(out.data) + begin * dtype_bytes(out.dtype),
                            static_cast<size_t>(n), type, r, comm_, stream_),
                 "ncclRecv");
      begin += n;
    }
    check_nccl(nccl_.group_end(), "ncclGroupEnd");
  }
  void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    use();
    check_nccl(nccl_.group_start(), "ncclGroupStart");
    int64_t begin = 0;
    for (int r = 0; r < size(); ++r) {  // the counts may differ, which ncclAllGather does not allow
      const int64_t n = counts[static_cast<size_t>(r)];
      check_nccl(nccl_.broadcast(mine.data, static_cast<char*>(out.data) + begin * dtype_bytes(out.dtype),
                                 static_cast<size_t>(n), nccl_type(mine.dtype), r, comm_, stream_),
                 "ncclBroadcast");
      begin += n;
    }
    check_nccl(nccl_.group_end(), "ncclGroupEnd");
  }

  void* share_memory(int64_t bytes) override {
    assert(!peers_);
    use();
    // Peer memory is not used if NCCL's own switch forbids it, or if ranks are on several hosts, whose memory
    // only NCCL can reach.
    const char* off = std::getenv("NCCL_P2P_DISABLE");
    const bool wanted = size() <= cuda::kMaxPeers && (off == nullptr || std::strcmp(off, "1") != 0);
    auto memory = wanted ? std::make_unique<cuda::PeerMemory>(bytes) : nullptr;
    PeerOffer mine{};
    host_name(&mine.host);
    mine.usable = memory && memory->get_handle(&mine.handle);
    std::vector<PeerOffer> all(static_cast<size_t>(size()));
    host_.gather_host(rank() == 0 ? all.data() : nullptr, &mine, sizeof mine);
    host_.broadcast(all.data(), static_cast<int64_t>(all.size() * sizeof mine), Patience::kStep);
    bool reached = true;
    for (const PeerOffer& offer : all) reached = reached && offer.usable && offer.host == all.front().host;
    if (reached) {
      std::vector<cuda::PeerMemory::Handle> handles;
      handles.reserve(all.size());
      for (const PeerOffer& offer : all) handles.push_back(offer.handle);
      reached = memory->open(handles, rank());
    }
    if (!on_all_ranks(reached)) {
      if (memory) memory->close();
      host_.barrier(Patience::kStep);
      return nullptr;
    }
    peers_ = std::move(memory);
    beside_ = std::make_unique<cuda::SideStream>(kMostSums);
    return peers_->data();
  }
  void add_sum(const Tensor& x, const Tensor& summand) override {
    static_assert(cuda::kMaxAtOnce <= kSmallSummand, "only small summands are read beyond their launch");
    use();
    cuda::check(peers_->add_sum(x, summand, stream_), "add_sum");
  }
  int start_sum(const Tensor& x, const Tensor& summand, const Tensor& inbox) override {
    use();
    const int sum = next_sum_;
    next_sum_ = (next_sum_ + 1) % kMostSums;
    beside_->wait_for(stream_);
    cuda::check(peers_->add_sum(x, summand, inbox, beside_->stream()), "start_sum");
    beside_->mark(sum);
    return sum;
  }
  void finish_sum(int sum) override { beside_->join(stream_, sum); }
  void all_gather_small(const Tensor& out, const Tensor& mine) override {
    use();
    cuda::check(peers_->gather(out, mine, stream_), "all_gather_small");
  }

  void broadcast(void* data, int64_t bytes, Patience patience) override {
    host_.broadcast(data, bytes, patience);
  }
  void gather_host(void* all, const void* mine, int64_t bytes) override {
    host_.gather_host(all, mine, bytes);
  }
  void barrier(Patience patience) override { host_.barrier(patience); }

  void check(std::chrono::nanoseconds waited) override {
    try {
      if (comm_ != nullptr) {
        ncclResult_t state = ncclSuccess;
        check_nccl(nccl_.async_error(comm_, &state), "ncclCommGetAsyncError");
        check_nccl(state, "NCCL");
      }
      host_.check(waited);
    } catch (const Error& error) {
      stop(error.kind(), error.what());
      throw;
    }
  }
  void abort(ErrorKind kind, const std::string& message) noexcept override { stop(kind, message); }
  std::optional<Error> failure() const override { return host_.failure(); }
  void set_timeout(std::chrono::nanoseconds timeout) override { host_.set_timeout(timeout); }
  std::chrono::nanoseconds timeout() const override { return host_.timeout(); }

 private:
  static constexpr const char* kHostId = "NCCL_HOSTID";
  using HostName = std::array<char, 256>;
  static void host_name(HostName* name) { (void)::gethostname(name->data(), name->size() - 1); }

  struct PeerOffer {
    cuda::PeerMemory::Handle handle;
    HostName host;
    bool usable;
  };
  bool on_all_ranks(bool mine) {
    const auto n = static_cast<size_t>(size());
    std::vector<char> all(n);
    const char one = mine ? 1 : 0;
    host_.gather_host(rank() == 0 ? all.data() : nullptr, &one, 1);
    char result = 1;
    for (const char r : all) result = static_cast<char>(result & r);
    host_.broadcast(&result, 1, Patience::kStep);
    return result != 0;
  }

  // Waits for the other ranks, so that no rank frees memory while another one has it open.
  void part_from_peers(bool failed) {
    (void)cudaSetDevice(device_);
    (void)cudaStreamSynchronize(stream_);
    beside_.reset();
    peers_->close();
    if (failed) return;
    try {
      host_.barrier(Patience::kStep);
    } catch (const std::exception&) {  // a rank is gone, and so is its work on this memory
    }
  }

  // Makes ranks that share a GPU look like ranks of different hosts. NCCL refuses two ranks of one host on
  // one GPU, but a machine with one GPU can thus try the code of several: NCCL accepts such ranks and
  // connects them by sockets.
  bool part_ranks_of_one_gpu() {
    struct Place {
      HostName host;
      int device;
    };
    Place mine{};
    host_name(&mine.host);
    mine.device = device_;
    std::vector<Place> all(rank() == 0 ? static_cast<size_t>(size()) : 0);
    host_.gather_host(all.data(), &mine, sizeof mine);
    bool shared = false;
    for (size_t i = 0; i < all.size(); ++i)
      for (size_t j = 0; j < i; ++j)
        shared = shared || (all[i].device == all[j].device && all[i].host == all[j].host);
    host_.broadcast(&shared, sizeof shared, Patience::kStep);
    if (!shared || std::getenv(kHostId) != nullptr) return false;
    const std::string id = std::string(mine.host.data()) + "-rank-" + std::to_string(rank());
    return ::setenv(kHostId, id.c_str(), /*overwrite=*/0) == 0;
  }

  // This is the only way to end kernels that wait on the GPU for a rank that is gone.
  void stop(ErrorKind kind, const std::string& message) noexcept {
    host_.abort(kind, message);
    if (peers_) peers_->stop();
    if (comm_ == nullptr) return;
    backend_.forget_recordings();
    (void)nccl_.abort(comm_);
    comm_ = nullptr;
  }
  void use() {
    if (const std::optional<Error> error = host_.failure()) throw *error;
    if (const cudaError_t error = cudaSetDevice(device_); error != cudaSuccess)
      throw Error(ErrorKind::kDevice, std::string("cudaSetDevice failed: ") + cudaGetErrorString(error));
  }
  void check_nccl(ncclResult_t result, const char* what) {
    if (result == ncclSuccess || result == ncclInProgress) return;
    const char* detail = nccl_.last_error(comm_);
    throw Error(ErrorKind::kDevice,
                rank_prefix(rank(), size()) + what + " failed: " + nccl_.error_string(result) +
                    (detail == nullptr || *detail == '\0' ? "" : std::string(": ") + detail) +
                    ". NCCL_DEBUG=WARN says more.");
  }

  NcclLibrary nccl_;
  Communicator& host_;
  Backend& backend_;
  int device_ = 0;
  cudaStream_t stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
  std::unique_ptr<cuda::PeerMemory> peers_;
  std::unique_ptr<cuda::SideStream> beside_;
  int next_sum_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator* host, Backend* backend) {
  return std::make_unique<NcclCommunicator>(host, backend);
}

}  // namespace seer
