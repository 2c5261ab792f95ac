#include "kernels/comm/mpi.h"

// Only the C interface is used; MPI's C++ bindings were removed from its standard.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <cassert>
#include <climits>
#include <cstring>
#include <thread>
#include <vector>

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kDataTag = 1, kFailureTag = 2;
constexpr int64_t kMostBytes = int64_t{1} << 30;  // of one message, because MPI counts in int
constexpr size_t kTextBytes = 4096;
constexpr auto kSpinTime = std::chrono::milliseconds(2);  // the collectives of a step follow closely on one
                                                          // another
constexpr auto kLook = std::chrono::milliseconds(20);     // between checks for failures
constexpr auto kShortSleep = std::chrono::microseconds(200);
constexpr auto kTellWithin = std::chrono::seconds(2);

struct FailureText {
  int32_t kind;
  char text[kTextBytes];
};

void check_mpi(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int n = 0;
  MPI_Error_string(code, text, &n);
  throw Error(ErrorKind::kDevice, std::string(what) + " failed: " + text +
                                      ". A rank has ended, or the network between them is down.");
}

// wait() completes requests by MPI_Test, which the analyzer does not see.
// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker)
class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator() {
    int provided = 0;
    // The thread that owns the model makes all calls, one at a time.
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_SERIALIZED)
      throw Error(ErrorKind::kUnsupported,
                  "this MPI cannot be called from more than one thread (expected "
                  "MPI_THREAD_SERIALIZED); use one that was built with thread support");
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    for (MPI_Comm comm : {MPI_COMM_WORLD, comm_})
      check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    find_neighbours();
  }
  ~MpiCommunicator() override {
    // If a rank is gone, MPI_Finalize would wait for it. The launcher ends the remaining ranks.
    if (failure_) return;
    MPI_Comm_free(&comm_);
    MPI_Finalize();
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int core_sharers() const override { return core_sharers_; }

  void all_reduce_sum(const Tensor& t) override {
    constexpr int64_t kMost = kMostBytes / int64_t{sizeof(float)};
    for (int64_t first = 0; first < t.numel(); first += kMost) {
      MPI_Request request = MPI_REQUEST_NULL;
      begin(MPI_Iallreduce(MPI_IN_PLACE, t.as<float>() + first,
                           static_cast<int>(std::min(kMost, t.numel() - first)), MPI_FLOAT, MPI_SUM, comm_,
                           &request),
            "MPI_Iallreduce");
      wait(&request, Patience::kStep);
    }
  }

  void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    int64_t begin = 0;
    for (int r = 0; r < size_; ++r) {
      const int64_t bytes = counts[static_cast<size_t>(r)] * dtype_bytes(mine.dtype);
      if (rank_ == 0) collect(static_cast<std::byte*>(out.data) + begin, mine.data, r, bytes);
      if (rank_ == r && r != 0) send(mine.data, bytes, 0);
      begin += bytes;
    }
  }
  void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    std::vector<int> sizes, begins;
    int64_t begin_at = 0;
    for (const int64_t count : counts) {
      sizes.push_back(static_cast<int>(count));
      begins.push_back(static_cast<int>(begin_at));
      begin_at += count;
    }
    assert(begin_at <= INT_MAX && (mine.dtype == DType::kF32 || mine.dtype == DType::kBF16));
    const MPI_Datatype type = mine.dtype == DType::kBF16 ? MPI_UINT16_T : MPI_FLOAT;
    MPI_Request request = MPI_REQUEST_NULL;
    begin(MPI_Iallgatherv(mine.data, sizes[static_cast<size_t>(rank_)], type, out.data, sizes.data(),
                          begins.data(), type, comm_, &request),
          "MPI_Iallgatherv");
    wait(&request, Patience::kStep);
  }

  void broadcast(void* data, int64_t bytes, Patience patience) override {
    for (int64_t first = 0; first < bytes; first += kMostBytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      begin(MPI_Ibcast(static_cast<std::byte*>(data) + first,
                       static_cast<int>(std::min(kMostBytes, bytes - first)), MPI_BYTE, 0, comm_, &request),
            "MPI_Ibcast");
      wait(&request, first == 0 ? patience : Patience::kStep);
    }
  }
  void gather_host(void* all, const void* mine, int64_t bytes) override {
    for (int r = 0; r < size_; ++r) {
      if (rank_ == 0) collect(static_cast<std::byte*>(all) + r * bytes, mine, r, bytes);
      if (rank_ == r && r != 0) send(mine, bytes, 0);
    }
  }
  void barrier(Patience patience) override {
    MPI_Request request = MPI_REQUEST_NULL;
    begin(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
    wait(&request, patience);
  }

  void check(std::chrono::nanoseconds waited) override {
    throw_failure();
    int there = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kFailureTag, comm_, &there, &status), "MPI_Iprobe");
    if (there != 0) {
      FailureText f{};
      check_mpi(MPI_Recv(&f, sizeof f, MPI_BYTE, status.MPI_SOURCE, kFailureTag, comm_, MPI_STATUS_IGNORE),
                "MPI_Recv");
      f.text[kTextBytes - 1] = '\0';
      failure_.emplace(static_cast<ErrorKind>(f.kind), f.text);
      throw_failure();
    }
    if (waited <= timeout_) return;
    abort(ErrorKind::kDevice,
          rank_prefix(rank_, size_) + waited_text(timeout_) +
              " for the other ranks: one has ended or hangs, or the network between them is down. Raise "
              "--comm-timeout if a step takes longer.");
    throw_failure();
  }
  void abort(ErrorKind kind, const std::string& message) noexcept override {
    if (failure_) return;
    try {
      failure_.emplace(kind, message);
      told_.kind = static_cast<int32_t>(kind);
      told_.text[message.copy(told_.text, kTextBytes - 1)] = '\0';
      std::vector<MPI_Request> requests;
      for (int r = 0; r < size_; ++r) {
        if (r == rank_) continue;
        requests.emplace_back(MPI_REQUEST_NULL);
        MPI_Isend(&told_, sizeof told_, MPI_BYTE, r, kFailureTag, comm_, &requests.back());
      }
      // A rank that is gone receives nothing.
      const Clock::time_point deadline = Clock::now() + kTellWithin;
      int done = 0;
      while (done == 0 && Clock::now() < deadline) {
        if (MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE) !=
            MPI_SUCCESS)
          break;
        std::this_thread::sleep_for(kShortSleep);
      }
    } catch (...) {  // out of memory; the other ranks see this process end
    }
  }
  std::optional<Error> failure() const override { return failure_; }
  void set_timeout(std::chrono::nanoseconds timeout) override { timeout_ = timeout; }
  std::chrono::nanoseconds timeout() const override { return timeout_; }

 private:
  void throw_failure() const {
    if (failure_) throw *failure_;
  }
  void begin(int code, const char* what) {
    throw_failure();
    if (code == MPI_SUCCESS) return;
    try {
      check_mpi(code, what);
    } catch (const Error& error) {
      abort(error.kind(), rank_prefix(rank_, size_) + error.what());
      throw_failure();
    }
  }

  // MPI_Wait would neither check for failures nor stop.
  void wait(MPI_Request* request, Patience patience) {
    const Clock::time_point start = Clock::now();
    Clock::time_point looked = start;
    for (;;) {
      int done = 0;
      begin(MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done != 0) return;
      const Clock::time_point now = Clock::now();
      if (now - start < kSpinTime) {
        ::sched_yield();
        continue;
      }
      if (now - looked > kLook) {
        check(patience == Patience::kIdle ? std::chrono::nanoseconds(0) : now - start);
        looked = now;
      }
      std::this_thread::sleep_for(kShortSleep);
    }
  }
  void send(const void* data, int64_t bytes, int to) {
    for (int64_t first = 0; first < bytes; first += kMostBytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      begin(MPI_Isend(static_cast<const std::byte*>(data) + first,
                      static_cast<int>(std::min(kMostBytes, bytes - first)), MPI_BYTE, to, kDataTag, comm_,
                      &request),
            "MPI_Isend");
      wait(&request, Patience::kStep);
    }
  }
  // Writes the data that rank `from` sends to `out`, or `mine` if that is rank 0 itself.
  void collect(std::byte* out, const void* mine, int from, int64_t bytes) {
    if (from == 0) {
      if (bytes > 0) std::memcpy(out, mine, static_cast<size_t>(bytes));
      return;
    }
    for (int64_t first = 0; first < bytes; first += kMostBytes) {
      MPI_Request request = MPI_REQUEST_NULL;
      begin(MPI_Irecv(out + first, static_cast<int>(std::min(kMostBytes, bytes - first)), MPI_BYTE, from,
                      kDataTag, comm_, &request),
            "MPI_Irecv");
      wait(&request, Patience::kStep);
    }
  }

  // Counts the ranks on this machine. mpirun may have bound each rank to cores of its own, or not at all.
  void find_neighbours() {
    MPI_Comm local = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local),
              "MPI_Comm_split_type");
    int n_local = 1;
    MPI_Comm_rank(local, &local_rank_);
    MPI_Comm_size(local, &n_local);
    cpu_set_t cores;
    CPU_ZERO(&cores);
    ::sched_getaffinity(0, sizeof cores, &cores);
    std::vector<cpu_set_t> all(static_cast<size_t>(n_local));
    check_mpi(MPI_Allgather(&cores, sizeof cores, MPI_BYTE, all.data(), sizeof cores, MPI_BYTE, local),
              "MPI_Allgather");
    core_sharers_ = static_cast<int>(std::count_if(
        all.begin(), all.end(), [&](const cpu_set_t& other) { return CPU_EQUAL(&cores, &other); }));
    MPI_Comm_free(&local);
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0, core_sharers_ = 1;
  std::chrono::nanoseconds timeout_ = kDefaultRankTimeout;
  std::optional<Error> failure_;
  FailureText told_{};  // must stay unchanged while it is sent
};
// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator() { return std::make_unique<MpiCommunicator>(); }

}  // namespace seer
