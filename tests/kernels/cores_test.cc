// The CPU quotas of cgroups, read from folders that look like /proc and /sys/fs/cgroup of real machines.
#include "kernels/cpu/cores.h"

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

class FakeRoot {
 public:
  FakeRoot(const std::string& cgroup, const std::string& mountinfo) {
    write("proc/self/cgroup", cgroup);
    write("proc/self/mountinfo", "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n" + mountinfo);
  }
  FakeRoot& write(const std::string& path, const std::string& text) {
    fs::create_directories((dir_.path() / path).parent_path());
    testing::write_file(dir_.path() / path, text);
    return *this;
  }
  std::optional<double> quota() const { return cpu_quota(dir_.path()); }

 private:
  testing::TempDir dir_;
};

constexpr const char* kV2Mount =
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Mounts =
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";

TEST_CASE("without cgroups, or without a limit, there is no quota") {
  const testing::TempDir empty;
  CHECK(cpu_quota(empty.path()) == std::nullopt);
  CHECK(FakeRoot("0::/\n", kV2Mount).quota() == std::nullopt);
  CHECK(FakeRoot("0::/a\n", kV2Mount).write("sys/fs/cgroup/a/cpu.max", "max 100000\n").quota() ==
        std::nullopt);
  CHECK(FakeRoot("3:cpu,cpuacct:/\n", kV1Mounts)
            .write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
            .write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
            .quota() == std::nullopt);
}

TEST_CASE("cgroup v2: a container that sees its own cgroup as the root has the quota there") {
  CHECK(FakeRoot("0::/\n", kV2Mount).write("sys/fs/cgroup/cpu.max", "150000 100000\n").quota() == 1.5);
}

TEST_CASE("cgroup v2: the least of the process's cgroup and its ancestors counts") {
  FakeRoot root("0::/user.slice/job/step\n", kV2Mount);
  root.write("sys/fs/cgroup/user.slice/job/step/cpu.max", "800000 100000\n");
  CHECK(root.quota() == 8.0);
  root.write("sys/fs/cgroup/user.slice/cpu.max", "50000 100000\n");
  CHECK(root.quota() == 0.5);
  root.write("sys/fs/cgroup/system.slice/cpu.max",
             "1000 100000\n");  // not an ancestor of the process's cgroup
  CHECK(root.quota() == 0.5);
}

TEST_CASE("cgroup v1: quota and period of the controller cpu count") {
  FakeRoot root("4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n", kV1Mounts);
  root.write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "300000\n")
      .write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 3.0);
}

TEST_CASE("a mount that shows a part of the hierarchy is read from there") {
  // Without a cgroup namespace, a container's mount begins at its own cgroup, whose whole path the container
  // sees.
  CHECK(
      FakeRoot("4:cpu:/docker/abc\n", "34 31 0:31 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n")
          .write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n")
          .write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n")
          .quota() == 2.0);
  // A process below that cgroup.
  CHECK(FakeRoot("0::/docker/abc/inner\n", "34 31 0:31 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
            .write("sys/fs/cgroup/inner/cpu.max", "70000 100000\n")
            .quota() == 0.7);
  // The process is outside of the mount's part of the hierarchy, so only the mount's own limit is known.
  CHECK(FakeRoot("0::/../../other\n", kV2Mount).write("sys/fs/cgroup/cpu.max", "100000 100000\n").quota() ==
        1.0);
  CHECK(FakeRoot("0::/other\n", "34 31 0:31 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
            .write("sys/fs/cgroup/cpu.max", "100000 100000\n")
            .quota() == 1.0);
}

TEST_CASE("if both versions are mounted, each counts") {
  FakeRoot root("4:cpu:/\n0::/\n",
                "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  CHECK(root.quota() == std::nullopt);
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n")
      .write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 4.0);
  root.write("sys/fs/cgroup/unified/cpu.max", "300000 100000\n");
  CHECK(root.quota() == 3.0);
}

TEST_CASE("a mount point with a space is found") {
  CHECK(FakeRoot("0::/\n", "29 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n")
            .write("my groups/cpu.max", "200000 100000\n")
            .quota() == 2.0);
}

TEST_CASE("files that make no sense set no limit") {
  for (const char* text : {"", "\n", "0 100000\n", "100000\n", "100000 0\n", "-5 100000\n", "many few\n"}) {
    INFO(text);
    CHECK(FakeRoot("0::/\n", kV2Mount).write("sys/fs/cgroup/cpu.max", text).quota() == std::nullopt);
  }
  CHECK(FakeRoot("0\n:\nnothing\n", "1 2 3\n- -\n" + std::string(kV2Mount)).quota() == std::nullopt);
}

TEST_CASE("this process has at least one core") { CHECK(available_cores() >= 1); }

}  // namespace
}  // namespace seer
