// The tier of pages on a disk, if its process is killed at any moment.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/engine/disk_pages.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kPages = 12, kNames = 40, kBytes = 100'000;

// Stores and loads random pages until it is killed. Writes a byte to `started` after the first one.
[[noreturn]] void work_until_killed(const DiskFolder& folder, uint64_t seed, const PageFingerprint& model,
                                    int started) {
  std::mt19937_64 random(seed);
  Disk disk(folder, kPages, model, {}, kBytes);
  Record record(static_cast<size_t>(kBytes));
  for (bool first = true;; first = false) {
    const PageName name = test_page(static_cast<int64_t>(random() % kNames), model);
    disk->store(name, record_of(name, kBytes), static_cast<double>(random() % 5));
    const PageName other = test_page(static_cast<int64_t>(random() % kNames), model);
    if (disk->load(other, record) && record != record_of(other, kBytes)) ::_exit(1);
    if (first && ::write(started, "x", 1) != 1) ::_exit(2);
  }
}

// SEER_KILLS says how often; the test suite has little time.
int n_kills() {
  const char* const text = std::getenv("SEER_KILLS");
  return text == nullptr ? 30 : std::atoi(text);
}

TEST_CASE("killed at any moment, one or two processes leave only whole pages, and never more than the size") {
  const DiskFolder folder;
  std::mt19937_64 random(20);
  int64_t n_found = 0, n_left = 0;
  int started[2];
  REQUIRE(::pipe2(started, O_CLOEXEC) == 0);
  const FileDescriptor from_child(started[0]), to_parent(started[1]);
  { const Disk made(folder, kPages, kPagesModel, {}, kBytes); }
  for (int kill = 0; kill < n_kills(); ++kill) {
    INFO("kill " << kill);
    std::vector<pid_t> children;
    for (int child = 0; child < 1 + kill % 2; ++child) {
      const uint64_t seed = random();
      const pid_t pid = ::fork();
      if (pid == 0) work_until_killed(folder, seed, child == 0 ? kPagesModel : kOtherModel, to_parent.get());
      children.push_back(pid);
    }
    // Every fourth time they may be killed while they open the folder.
    char byte = 0;
    for (size_t i = 0; kill % 4 != 3 && i < children.size(); ++i)
      REQUIRE(::read(from_child.get(), &byte, 1) == 1);
    for (const pid_t pid : children) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
      ::kill(pid, SIGKILL);
      int status = 0;
      REQUIRE(::waitpid(pid, &status, 0) == pid);
      CHECK(WIFSIGNALED(status));  // otherwise it has found a wrong page
    }
    // This is checked before anything is cleaned up.
    CHECK(folder.bytes() <= kPages * page_file_bytes(kBytes));
    n_left += static_cast<int64_t>(folder.files(".tmp").size());
    for (const PageFingerprint& model : {kPagesModel, kOtherModel}) {
      Disk disk(folder, kPages, model, {}, kBytes);
      for (const int64_t i : disk.which(kNames)) {
        CHECK(disk.load(i));
        ++n_found;
      }
      CHECK(disk.lines().empty());  // nothing was damaged
      CHECK(disk->n_bytes() == folder.bytes());
      CHECK(folder.files(".tmp").empty());
    }
  }
  CHECK(n_found > n_kills());
  CHECK(n_left > 0);  // some were killed while they wrote
  if (std::getenv("SEER_KILLS") != nullptr)
    WARN(n_found << " pages were found after " << n_kills() << " kills, and " << n_left
                 << " files that were being written");
}

}  // namespace
}  // namespace seer
