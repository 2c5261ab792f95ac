#include "kernels/comm/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/comm/shared_memory.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us

namespace seer {
namespace {

constexpr int kMaxRanks = 64;  // on one machine
// How long rank 0 waits for the remaining ranks before it kills them: after they were told to end, and in a
// run that has failed.
constexpr auto kEndsWithin = std::chrono::milliseconds(5000), kFailsWithin = std::chrono::milliseconds(500);
constexpr const char* kVariable = "SEER_STARTED_RANK";  // holds the rank, and the descriptors of the region
                                                        // and the pipe

struct Fd {
  int value = -1;
  Fd() = default;
  explicit Fd(int fd) : value(fd) {}
  ~Fd() {
    if (value >= 0) ::close(value);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
};

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    const char* name = ::strsignal(WTERMSIG(status));
    return "was killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
           (name == nullptr ? "?" : name) + ")";
  }
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

// The processes that rank 0 started, and rank 0's end of a pipe. It is closed when rank 0 ends, which tells
// the processes so.
class Children {
 public:
  Children(int n_ranks, int alive_fd) : n_ranks_(n_ranks), alive_(alive_fd) {}
  ~Children() {
    const auto deadline = std::chrono::steady_clock::now() + (failed_ ? kFailsWithin : kEndsWithin);
    while (n_left_ > 0 && std::chrono::steady_clock::now() < deadline) {
      look();
      if (n_left_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (const pid_t pid : pids_)
      if (pid > 0) {
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
      }
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  void add(pid_t pid) {
    pids_.push_back(pid);
    ++n_left_;
  }
  void run_failed() { failed_ = true; }
  // Returns a text about the first process that has ended; empty while all run.
  std::string look() {
    for (size_t i = 0; i < pids_.size(); ++i) {
      int status = 0;
      if (pids_[i] == 0 || ::waitpid(pids_[i], &status, WNOHANG) != pids_[i]) continue;
      pids_[i] = 0;
      --n_left_;
      if (lost_.empty())
        lost_ = "rank " + std::to_string(i + 1) + " of " + std::to_string(n_ranks_) + " " +
                how_it_ended(status) + "; the model cannot be computed without it. Start again.";
    }
    return lost_;
  }

 private:
  int n_ranks_;
  Fd alive_;
  std::vector<pid_t> pids_;  // 0: the process has ended
  int n_left_ = 0;
  bool failed_ = false;
  std::string lost_;
};

// Starts a rank by posix_spawn, because fork() is not safe if other threads hold locks.
pid_t start(const std::vector<std::string>& command, int rank, int region_fd, int pipe_fd) {
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v)
    if (std::strncmp(*v, kVariable, std::strlen(kVariable)) != 0) variables.emplace_back(*v);
  variables.push_back(std::string(kVariable) + "=" + std::to_string(rank) + "," + std::to_string(region_fd) +
                      "," + std::to_string(pipe_fd));
  const auto pointers = [](const std::vector<std::string>& texts) {
    std::vector<char*> out;
    out.reserve(texts.size() + 1);
    for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
  };
  const std::vector<char*> argv = pointers(command), envp = pointers(variables);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  for (const int fd : {region_fd, pipe_fd})  // copied onto itself, so that it stays open in the child
    posix_spawn_file_actions_adddup2(&actions, fd, fd);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, command.front().c_str(), &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw Error(ErrorKind::kDevice, "rank " + std::to_string(rank) + " cannot be started: " +
                                        command.front() + ": " + std::strerror(error));
  return pid;
}

// The communicator of rank 0. Its children end only after rank 0 has left the shared memory.
class StartedRanks final : public Communicator {
 public:
  StartedRanks(std::unique_ptr<Children> children, std::unique_ptr<Communicator> comm)
      : children_(std::move(children)), comm_(std::move(comm)) {}
  ~StartedRanks() override {
    if (comm_->failure()) children_->run_failed();
  }
  StartedRanks(const StartedRanks&) = delete;
  StartedRanks& operator=(const StartedRanks&) = delete;
  int rank() const override { return comm_->rank(); }
  int size() const override { return comm_->size(); }
  int local_rank() const override { return comm_->local_rank(); }
  int core_sharers() const override { return comm_->core_sharers(); }
  void all_reduce_sum(const Tensor& t) override { comm_->all_reduce_sum(t); }
  void gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    comm_->gather(out, mine, counts);
  }
  void all_gather(const Tensor& out, const Tensor& mine, std::span<const int64_t> counts) override {
    comm_->all_gather(out, mine, counts);
  }
  void broadcast(void* data, int64_t bytes, Patience patience) override {
    comm_->broadcast(data, bytes, patience);
  }
  void gather_host(void* all, const void* mine, int64_t bytes) override {
    comm_->gather_host(all, mine, bytes);
  }
  void barrier(Patience patience) override { comm_->barrier(patience); }
  void check(std::chrono::nanoseconds waited) override { comm_->check(waited); }
  void abort(ErrorKind kind, const std::string& message) noexcept override { comm_->abort(kind, message); }
  std::optional<Error> failure() const override { return comm_->failure(); }
  void set_timeout(std::chrono::nanoseconds timeout) override { comm_->set_timeout(timeout); }
  std::chrono::nanoseconds timeout() const override { return comm_->timeout(); }

 private:
  std::unique_ptr<Children> children_;  // declared first, so that it is destroyed last
  std::unique_ptr<Communicator> comm_;
};

}  // namespace

std::unique_ptr<Communicator> start_ranks(int n, const std::vector<std::string>& command) {
  if (n < 1 || n > kMaxRanks)
    throw Error(ErrorKind::kUsage, "expected between 1 and " + std::to_string(kMaxRanks) + " ranks, found " +
                                       std::to_string(n) + ". More run under mpirun.");
  if (n > 1 && command.empty())
    throw Error(ErrorKind::kUsage,
                "expected a command that starts a rank, a program's path and its arguments, found none");
  const std::shared_ptr<SharedRegion> region = SharedRegion::create(n);
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw Error(ErrorKind::kDevice, std::string("ranks cannot be started: pipe: ") + std::strerror(errno));
  const Fd theirs(ends[0]);
  auto children = std::make_unique<Children>(n, ends[1]);
  for (int rank = 1; rank < n; ++rank) {
    try {
      children->add(start(command, rank, region->fd(), theirs.value));
    } catch (const Error& error) {
      make_shared_memory_communicator(region, 0)->abort(error.kind(), error.what());
      throw;
    }
  }
  const auto look = [c = children.get()] { return c->look(); };
  return std::make_unique<StartedRanks>(std::move(children),
                                        make_shared_memory_communicator(region, 0, look));
}

std::unique_ptr<Communicator> join_started_rank() {
  const char* text = std::getenv(kVariable);
  if (text == nullptr) return nullptr;
  int values[3] = {};
  const char *at = text, *end = text + std::strlen(text);
  for (int& value : values) {
    const auto [stopped, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0)
      throw Error(ErrorKind::kUsage, std::string(kVariable) + "=" + text + " was not set by Seer; unset it");
    at = std::min(stopped + 1, end);
  }
  ::unsetenv(kVariable);
  const auto [rank, region_fd, pipe_fd] = std::tuple(values[0], values[1], values[2]);
  std::shared_ptr<SharedRegion> region = SharedRegion::attach(region_fd);
  for (const int fd : {region_fd, pipe_fd}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (rank < 1 || rank >= region->n_ranks())
    throw Error(ErrorKind::kUsage, std::string(kVariable) + "=" + text + " names no rank; unset it");
  const auto parent = std::make_shared<Fd>(pipe_fd);
  return make_shared_memory_communicator(region, rank, [parent]() -> std::string {
    pollfd poll_fd = {parent->value, POLLIN, 0};
    if (::poll(&poll_fd, 1, 0) <= 0 || poll_fd.revents == 0) return "";
    return "rank 0 has ended";
  });
}

}  // namespace seer
