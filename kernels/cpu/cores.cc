#include "kernels/cpu/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace seer {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Undoes the escapes of mountinfo, which writes a space, a tab, a newline and a backslash as "\040" and the
// like.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '\\' && i + 3 < text.size() && text.find_first_not_of("01234567", i + 1) > i + 3;
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}

// A hierarchy that can limit CPU time: that of cgroup v2, or that of v1's controller "cpu".
struct Hierarchy {
  bool v2 = false;
  fs::path group;  // of this process, from the hierarchy's root
};

std::vector<Hierarchy> hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream in(root / "proc/self/cgroup");  // lines such as "4:cpu,cpuacct:/a/b", and "0::/a/b" in v2
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (v2 || contains(split(controllers, ','), "cpu")) found.push_back({v2, line.substr(second + 1)});
  }
  return found;
}

struct Mount {
  fs::path root, point;  // `point` shows the part of the hierarchy below `root`
};

// Lines of mountinfo are "ID PARENT DEVICE ROOT POINT OPTIONS [TAG]... - TYPE SOURCE SUPEROPTIONS".
std::vector<Mount> mounts(const fs::path& root, bool v2) {
  std::vector<Mount> found;
  std::ifstream in(root / "proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> fields = split(line, ' ');
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 6 || fields.end() - dash < 4) continue;
    const bool right =
        v2 ? dash[1] == "cgroup2" : dash[1] == "cgroup" && contains(split(dash[3], ','), "cpu");
    if (right) found.push_back({unescape(fields[3]), unescape(fields[4])});
  }
  return found;
}

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// Returns the limit of one cgroup, without those above it.
std::optional<double> quota_of(const fs::path& folder, bool v2) {
  double quota = 0.0, period = 0.0;
  std::istringstream in(v2 ? first_line(folder / "cpu.max")
                           : first_line(folder / "cpu.cfs_quota_us") + " " +
                                 first_line(folder / "cpu.cfs_period_us"));
  // No limit is "max 100000" in v2, which is no number, and -1 in v1.
  if (!(in >> quota >> period) || !(quota > 0.0) || !(period > 0.0)) return std::nullopt;
  return quota / period;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const Hierarchy& hierarchy : hierarchies(root))
    for (const Mount& mount : mounts(root, hierarchy.v2)) {
      const fs::path point = root / mount.point.relative_path();
      fs::path inner = hierarchy.group.lexically_relative(mount.root);
      // A container may see its own cgroup as the root of the hierarchy although its path is longer.
      if (inner.empty() || inner == "." || *inner.begin() == "..") inner.clear();
      while (true) {
        const std::optional<double> quota = quota_of(point / inner, hierarchy.v2);
        if (quota) least = std::min(least.value_or(*quota), *quota);
        if (inner.empty()) break;
        inner = inner.parent_path();
      }
    }
  return least;
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int allowed = ::sched_getaffinity(0, sizeof set, &set) == 0
                          ? CPU_COUNT(&set)
                          : static_cast<int>(std::thread::hardware_concurrency());
  const double granted = std::ceil(cpu_quota().value_or(allowed));
  return std::max(1, granted < allowed ? static_cast<int>(granted) : allowed);
}

}  // namespace seer
