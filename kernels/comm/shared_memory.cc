#include "kernels/comm/shared_memory.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kSmallBytes = int64_t{32} << 10;  // moved by one meeting of the ranks; enough for decode
                                                    // steps
constexpr int64_t kSlotBytes = int64_t{1} << 20;    // moved by two meetings; large enough to make their time
                                                    // negligible
constexpr auto kLookTime = std::chrono::milliseconds(20);  // between checks whether the other ranks run
constexpr int kSpins = 400;  // some 20 us, which is shorter than waking up takes
constexpr int kYields = 40;
constexpr size_t kFailedTextBytes = 4096;

// Not FUTEX_PRIVATE, since several processes map this memory.
void futex_wait(std::atomic<uint32_t>* word, uint32_t value, std::chrono::nanoseconds limit) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  const timespec time = {0, static_cast<long>(limit.count())};
  ::syscall(SYS_futex, word, FUTEX_WAIT, value, &time, nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct SharedRegion::Header {
  enum Failed : uint32_t { kNo, kWriting, kYes };

  int32_t n_ranks = 0;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> meeting{0};  // how often all ranks have met
  alignas(64) std::atomic<uint32_t> failed{kNo};
  int32_t failed_rank = 0;
  int32_t failed_kind = 0;
  char failed_text[kFailedTextBytes] = {};

  // Returns the area at `offset` after the header. Each area begins on a page of its own.
  std::byte* area(int64_t offset) {
    constexpr int64_t kHeader = (sizeof(Header) + 4095) / 4096 * 4096;
    return reinterpret_cast<std::byte*>(this) + kHeader + offset;
  }
  std::byte* small(uint32_t parity, int rank) {
    return area((int64_t{parity} * n_ranks + rank) * kSmallBytes);
  }
  std::byte* slot(int rank) { return area(2 * n_ranks * kSmallBytes + rank * kSlotBytes); }
  std::byte* result() { return slot(n_ranks); }
  static size_t bytes(int n) {
    return (sizeof(Header) + 4095) / 4096 * 4096 +
           static_cast<size_t>(2 * n * kSmallBytes + (n + 1) * kSlotBytes);
  }
};

std::shared_ptr<SharedRegion> SharedRegion::create(int n_ranks) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorKind::kMemory, std::string("no memory to share between ") + std::to_string(n_ranks) +
                                        " ranks: " + what + ": " + std::strerror(errno));
  };
  const size_t size = Header::bytes(n_ranks);
  const int fd = ::memfd_create("seer-ranks", MFD_CLOEXEC);
  if (fd < 0) fail("memfd_create");
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
    ::close(fd);
    fail("ftruncate");
  }
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    ::close(fd);
    fail("mmap");
  }
  (new (data) Header)->n_ranks = n_ranks;
  return std::shared_ptr<SharedRegion>(new SharedRegion(fd, data, size));
}

std::shared_ptr<SharedRegion> SharedRegion::attach(int fd) {
  struct stat status = {};
  const size_t size = ::fstat(fd, &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
  void* data =
      size < sizeof(Header) ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED || Header::bytes(static_cast<Header*>(data)->n_ranks) != size)
    throw Error(ErrorKind::kDevice,
                "the memory shared with rank 0 cannot be used: expected to find it at file "
                "descriptor " +
                    std::to_string(fd) + ". Ranks are started by the program itself, or by mpirun.");
  return std::shared_ptr<SharedRegion>(new SharedRegion(fd, data, size));
}

SharedRegion::~SharedRegion() {
  ::munmap(data_, size_);
  ::close(fd_);
}

int SharedRegion::n_ranks() const { return header().n_ranks; }

namespace {

using Header = SharedRegion::Header;

class SharedMemoryCommunicator final : public Communicator {
 public:
  SharedMemoryCommunicator(std::shared_ptr<SharedRegion> region, int rank, PeerCheck peer_check)
      : region_(std::move(region)),
        header_(region_->header()),
        rank_(rank),
        peer_check_(std::move(peer_check)) {}

  int rank() const override { return rank_; }
  int size() const override { return header_.n_ranks; }
  int local_rank() const override { return rank_; }
  int core_sharers() const override { return size(); }

  void all_reduce_sum(const Tensor& t) override {
    auto* data = t.as<float>();
    const int64_t n = t.numel();
    if (n * int64_t{sizeof(float)} <= kSmallBytes) return reduce_small(data, n);
    constexpr int64_t kMost = kSlotBytes / int64_t{sizeof(float)};
    for (int64_t first = 0; first < n; first += kMost) reduce_large(data + first, std::min(kMost, n - first));
  }

  void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    gather_parts(out, mine, counts, rank_ == 0);
  }
  void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    gather_parts(out, mine, counts, true);
  }

  void broadcast(void* data, int64_t bytes, Patience patience) override {
    exchange(
        bytes, patience,
        [&](std::byte* area, int64_t first, int64_t n) {
          if (rank_ == 0) std::memcpy(area, static_cast<std::byte*>(data) + first, static_cast<size_t>(n));
        },
        [&](int rank, const std::byte* area, int64_t first, int64_t n) {
          if (rank == 0 && rank_ != 0)
            std::memcpy(static_cast<std::byte*>(data) + first, area, static_cast<size_t>(n));
        });
  }
  void gather_host(void* all, const void* mine, int64_t bytes) override {
    exchange(
        bytes, Patience::kStep,
        [&](std::byte* area, int64_t first, int64_t n) {
          std::memcpy(area, static_cast<const std::byte*>(mine) + first, static_cast<size_t>(n));
        },
        [&](int rank, const std::byte* area, int64_t first, int64_t n) {
          if (rank_ == 0)
            std::memcpy(static_cast<std::byte*>(all) + rank * bytes + first, area, static_cast<size_t>(n));
        });
  }
  void barrier(Patience patience) override { meet(patience); }

  void check(std::chrono::nanoseconds waited) override {
    throw_failure();
    if (peer_check_) {
      const std::string lost = peer_check_();
      if (!lost.empty()) {
        // A rank that ends because of a failure has recorded the failure before, so its message comes first.
        throw_failure();
        record(ErrorKind::kDevice, lost);
        throw_failure();
      }
    }
    if (waited <= timeout_) return;
    record(ErrorKind::kDevice,
           rank_prefix(rank_, size()) + waited_text(timeout_) +
               " for the other ranks, which hang or are stopped. Raise --comm-timeout if a step takes "
               "longer.");
    throw_failure();
  }
  void abort(ErrorKind kind, const std::string& message) noexcept override {
    try {
      record(kind, message);
    } catch (...) {  // out of memory; the other ranks see this process end
    }
  }
  std::optional<Error> failure() const override {
    if (header_.failed.load(std::memory_order_acquire) != Header::kYes) return std::nullopt;
    return Error(static_cast<ErrorKind>(header_.failed_kind), header_.failed_text);
  }
  void set_timeout(std::chrono::nanoseconds timeout) override { timeout_ = timeout; }
  std::chrono::nanoseconds timeout() const override { return timeout_; }

 private:
  void record(ErrorKind kind, const std::string& message) {
    uint32_t expected = Header::kNo;
    if (!header_.failed.compare_exchange_strong(expected, Header::kWriting)) {
      // Another rank is writing the failure, which takes no longer than a copy.
      for (int i = 0; i < 1000 && header_.failed.load() == Header::kWriting; ++i) ::sched_yield();
      return;
    }
    header_.failed_rank = rank_;
    header_.failed_kind = static_cast<int32_t>(kind);
    const size_t n = message.copy(header_.failed_text, kFailedTextBytes - 1);
    header_.failed_text[n] = '\0';
    header_.failed.store(Header::kYes, std::memory_order_release);
    futex_wake_all(&header_.meeting);
  }
  void throw_failure() const {
    if (const std::optional<Error> error = failure()) throw *error;
  }

  // Waits for every rank. Data that any rank wrote before the call can be read by all after it.
  void meet(Patience patience) {
    throw_failure();
    const uint32_t meeting = header_.meeting.load(std::memory_order_acquire);
    if (header_.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size())) {
      header_.arrived.store(0, std::memory_order_relaxed);
      header_.meeting.store(meeting + 1, std::memory_order_release);
      futex_wake_all(&header_.meeting);
      return;
    }
    const auto met = [&] { return header_.meeting.load(std::memory_order_acquire) != meeting; };
    for (int i = 0; i < kSpins; ++i) {
      if (met()) return;
      pause_core();
    }
    for (int i = 0; i < kYields; ++i) {
      if (met()) return;
      ::sched_yield();
    }
    const Clock::time_point begin = Clock::now();
    while (!met()) {
      futex_wait(&header_.meeting, meeting, kLookTime);
      if (met()) return;
      check(patience == Patience::kIdle ? std::chrono::nanoseconds(0) : Clock::now() - begin);
    }
  }

  // Every rank writes up to `bytes` (write: area, first, n), and then reads the data of all (read: rank,
  // area, first, n). A small exchange takes one meeting: the areas alternate, so that no rank writes into an
  // area that a slower one still reads for the exchange before.
  template <class Write, class Read>
  void exchange(int64_t bytes, Patience patience, Write&& write, Read&& read) {
    if (bytes <= kSmallBytes) {
      parity_ ^= 1U;
      write(header_.small(parity_, rank_), 0, bytes);
      meet(patience);
      for (int r = 0; r < size(); ++r) read(r, header_.small(parity_, r), 0, bytes);
      return;
    }
    for (int64_t first = 0; first < bytes; first += kSlotBytes) {
      const int64_t n = std::min(kSlotBytes, bytes - first);
      write(header_.slot(rank_), first, n);
      meet(first == 0 ? patience : Patience::kStep);
      for (int r = 0; r < size(); ++r) read(r, header_.slot(r), first, n);
      meet(Patience::kStep);
    }
  }

  void gather_parts(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts, bool wanted) {
    assert(static_cast<int>(counts.size()) == size());
    const int64_t element = dtype_bytes(mine.dtype);
    int64_t most = 0;
    for (const int64_t count : counts) most = std::max(most, count * element);
    const auto part = [&](int rank, int64_t first, int64_t n) {
      return std::clamp<int64_t>(counts[static_cast<size_t>(rank)] * element - first, 0, n);
    };
    std::vector<int64_t> begins(counts.size());
    for (size_t r = 1; r < counts.size(); ++r) begins[r] = begins[r - 1] + counts[r - 1] * element;
    exchange(
        most, Patience::kStep,
        [&](std::byte* area, int64_t first, int64_t n) {
          const int64_t mine_n = part(rank_, first, n);
          if (mine_n > 0)
            std::memcpy(area, static_cast<std::byte*>(mine.data) + first, static_cast<size_t>(mine_n));
        },
        [&](int rank, const std::byte* area, int64_t first, int64_t n) {
          const int64_t their_n = wanted ? part(rank, first, n) : 0;
          if (their_n > 0)
            std::memcpy(static_cast<std::byte*>(out.data) + begins[static_cast<size_t>(rank)] + first, area,
                        static_cast<size_t>(their_n));
        });
  }

  // Adds up the ranks' numbers. Every rank adds in the same order, so all get the same bits.
  void add_up(float* out, const std::function<const float*(int)>& of, int64_t n) const {
    std::copy_n(of(0), n, out);
    for (int r = 1; r < size(); ++r) {
      const float* in = of(r);
      for (int64_t i = 0; i < n; ++i) out[i] += in[i];
    }
  }
  void reduce_small(float* data, int64_t n) {
    parity_ ^= 1U;
    std::memcpy(header_.small(parity_, rank_), data, static_cast<size_t>(n) * sizeof(float));
    meet(Patience::kStep);
    add_up(
        data, [&](int r) { return reinterpret_cast<const float*>(header_.small(parity_, r)); }, n);
  }
  // Each rank adds up one part of the numbers, and then all ranks read the sums.
  void reduce_large(float* data, int64_t n) {
    std::memcpy(header_.slot(rank_), data, static_cast<size_t>(n) * sizeof(float));
    meet(Patience::kStep);
    const int64_t begin = n * rank_ / size(), end = n * (rank_ + 1) / size();
    auto* result = reinterpret_cast<float*>(header_.result());
    add_up(
        result + begin, [&](int r) { return reinterpret_cast<const float*>(header_.slot(r)) + begin; },
        end - begin);
    meet(Patience::kStep);
    std::memcpy(data, result, static_cast<size_t>(n) * sizeof(float));
  }

  std::shared_ptr<SharedRegion> region_;
  Header& header_;
  int rank_;
  PeerCheck peer_check_;
  uint32_t parity_ = 0;
  std::chrono::nanoseconds timeout_ = kDefaultRankTimeout;
};

}  // namespace

std::unique_ptr<Communicator> make_shared_memory_communicator(std::shared_ptr<SharedRegion> region, int rank,
                                                              PeerCheck peer_check) {
  return std::make_unique<SharedMemoryCommunicator>(std::move(region), rank, std::move(peer_check));
}

}  // namespace seer
