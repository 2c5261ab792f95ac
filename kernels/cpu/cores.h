// How many cores this process may use.
#pragma once

#include <filesystem>
#include <optional>

namespace seer {

// Returns the number of cores that the affinity mask allows, or fewer if the process's cgroups grant less CPU
// time: a quota of 1.5 cores counts as 2. The result is at least 1.
int available_cores();

// Returns the CPU time that the process's cgroups grant per time, in cores, or nothing if they set no limit.
// Every ancestor that is visible counts, in cgroup v2 (cpu.max) and in v1 (cpu.cfs_quota_us). A file that
// cannot be read or understood sets no limit. `root` stands for "/" in tests.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace seer
