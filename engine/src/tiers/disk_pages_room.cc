// Which pages of a disk cache stay if there is no room for all.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "engine/src/tiers/disk_pages.h"
#include "engine/src/tiers/disk_pages_failure.h"

namespace seer {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
// A stamp on the disk is renewed only if it would be later by more than a minute, because each renewal is a
// call to the system.
constexpr int64_t kRenewAfter = 60 * kSecond;
constexpr int64_t kStep = 1000;  // between the stamps of a page and the one after it

int64_t stamp_of(const struct stat& info) { return info.st_mtim.tv_sec * kSecond + info.st_mtim.tv_nsec; }

}  // namespace

// The caller must have the lock of PageSpace, and write the numbers.
bool DiskPages::make_room(int64_t bytes, Numbers* numbers) {
  bool counted = false;
  const auto count = [&] {
    count_again(numbers);
    counted = true;
  };
  while (numbers->bytes + bytes > options_.max_bytes) {
    bool none = false, others = false;
    {
      const std::lock_guard lock(mutex_);
      none = index_.size() == 0;
      // Pages of other processes may be older than those that are known here.
      others = numbers->added - n_added_known_ > index_.size() / 8;
    }
    if ((none || others) && !counted) {
      count();
    } else if (none) {
      return false;  // all that takes space is being written
    } else {
      evict_first(numbers);
    }
  }
  return true;
}

void DiskPages::evict_first(Numbers* numbers) {
  std::string path;
  std::pair<PageName, PageIndex::Entry> victim;
  {
    const std::lock_guard lock(mutex_);
    victim = *index_.first();
    index_.erase(victim.first);
    path = folders_[static_cast<size_t>(victim.second.folder)] + "/" + page_file_name(victim.first);
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return;  // another process has removed it, and counted that
    throw Failure{errno, "look at", path};
  }
  if (!S_ISREG(info.st_mode)) return;
  if (stamp_of(info) > std::max(victim.second.stamp_on_disk, victim.second.stamp)) {
    victim.second.stamp = victim.second.stamp_on_disk = stamp_of(info);  // another process has used it
    const std::lock_guard lock(mutex_);
    index_.put(victim.first, victim.second);
    return;
  }
  int error = fault(DiskCall::kRemove);
  if (error == 0 && ::unlink(path.c_str()) != 0) error = errno;
  if (error == ENOENT) return;
  if (error != 0) {
    const std::lock_guard lock(mutex_);
    index_.put(victim.first, victim.second);
    throw Failure{error, "remove", path};
  }
  numbers->bytes -= info.st_size;
  --numbers->pages;
  ++counters_.evicted;
  const std::lock_guard lock(mutex_);
  worth_.evicted(wall_clock_ns(), victim.second);
}

// Puts a page of this model into the index if it is not there, such as one that another process stored.
// Returns false if there is no such page.
bool DiskPages::learn(const PageName& name) {
  struct stat info {};
  if (::lstat(path_of(name).c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  const std::lock_guard lock(mutex_);
  if (index_.find(name) != nullptr) return true;
  const auto folder = std::find(folders_.begin(), folders_.end(), model_dir_);
  if (folder == folders_.end()) return false;
  index_.put(name,
             {stamp_of(info), stamp_of(info), info.st_size, static_cast<int32_t>(folder - folders_.begin())});
  return true;
}

// A failure does no harm, except that the page may go earlier.
void DiskPages::set_stamp(const std::string& path, int64_t stamp) {
  const timespec mtime = {stamp / kSecond, stamp % kSecond};
  const std::array<timespec, 2> times = {timespec{0, UTIME_OMIT}, mtime};
  (void)::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
}

void DiskPages::mark_used(const PageName& name, double cost_s) {
  if (reads_only_ || !learn(name)) return;
  int64_t renewed = 0;
  {
    const std::lock_guard lock(mutex_);
    const PageIndex::Entry* const known = index_.find(name);
    if (known == nullptr) return;
    PageIndex::Entry entry = *known;
    entry.cost_s = cost_s;
    entry.stamp = std::max(entry.stamp, worth_.stamp(wall_clock_ns(), cost_s, entry.bytes));
    if (entry.stamp > entry.stamp_on_disk + kRenewAfter) renewed = entry.stamp_on_disk = entry.stamp;
    index_.put(name, entry);
  }
  if (renewed != 0) set_stamp(path_of(name), renewed);
}

// A page's stamp becomes later than that of the page after it, because it is used whenever that one is. So
// each page of a prompt stays at least as long as any page after it. If the stamps on the disk are not in
// this order, they are renewed at once.
void DiskPages::used(std::span<const PageName> chain) {
  if (reads_only_) return;
  for (const PageName& name : chain) {
    bool known = false;
    {
      const std::lock_guard lock(mutex_);
      known = index_.find(name) != nullptr;
    }
    if (!known) learn(name);
  }
  std::vector<std::pair<PageName, int64_t>> renewed;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now = wall_clock_ns();
    bool renew = false;
    int64_t after = 0, after_on_disk = 0;  // of the page after this one
    for (size_t i = chain.size(); i-- > 0;) {
      const PageIndex::Entry* const known = index_.find(chain[i]);
      if (known == nullptr) continue;
      PageIndex::Entry entry = *known;
      entry.stamp = std::max({entry.stamp, worth_.stamp(now, entry.cost_s, entry.bytes), after + kStep});
      renew =
          renew || entry.stamp > entry.stamp_on_disk + kRenewAfter || entry.stamp_on_disk <= after_on_disk;
      after = entry.stamp;
      after_on_disk = entry.stamp_on_disk;
      index_.put(chain[i], entry);
      renewed.emplace_back(chain[i], entry.stamp);
    }
    if (!renew) return;
    for (const auto& [name, stamp] : renewed) {
      PageIndex::Entry entry = *index_.find(name);
      entry.stamp_on_disk = stamp;
      index_.put(name, entry);
    }
  }
  for (const auto& [name, stamp] : renewed) set_stamp(path_of(name), stamp);
}

}  // namespace seer
