// Opening the folder of a disk cache, and counting what is in it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/src/tiers/disk_pages.h"
#include "engine/src/tiers/disk_pages_failure.h"
#include "seer/error.h"

namespace seer {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kPatienceToOpen(30);  // another process may be counting a large folder

// Throws unless it is a folder to which only its owner, or a group of the owner's choice, can write: whoever
// can write to it decides what pages hold.
void check_folder(const std::string& dir) {
  struct stat info {};
  if (::stat(dir.c_str(), &info) != 0)
    throw Error(ErrorKind::kUsage, "the disk cache's folder " + dir +
                                       " cannot be used: " + std::strerror(errno) +
                                       ". Name a folder that can be made or that is yours.");
  if (!S_ISDIR(info.st_mode))
    throw Error(ErrorKind::kUsage, "expected a folder for the disk cache, found a file: " + dir +
                                       ". Name a folder, which need not exist.");
  if ((info.st_mode & S_IWOTH) != 0)
    throw Error(ErrorKind::kUsage,
                "expected a folder for the disk cache that not everybody can write to, found " + dir +
                    ", into which anybody could put pages. Name a new folder in it, or take the right away "
                    "(chmod o-w).");
}

// Makes the folder and those above it. Only the last one is closed to others.
void make_folder(const std::string& dir) {
  std::error_code ignored;  // what is wrong is said by check_folder()
  fs::create_directories(fs::path(dir).parent_path(), ignored);
  ::mkdir(dir.c_str(), 0700);
}

}  // namespace

DiskPages::DiskPages(DiskPagesOptions options, const PageFingerprint& fingerprint, int64_t record_bytes,
                     Log on_log)
    : options_(std::move(options)),
      fingerprint_(fingerprint),
      record_bytes_(record_bytes),
      file_bytes_(page_file_bytes(record_bytes)),
      log_(std::move(on_log)),
      reads_(options_.first_pause),
      writes_(options_.first_pause),
      worth_(options_.max_bytes) {
  if (options_.dir.empty())
    throw Error(ErrorKind::kUsage, "expected a folder for the disk cache, found none");
  if (options_.max_bytes < file_bytes_)
    throw Error(ErrorKind::kUsage, "expected a disk cache of at least " + std::to_string(file_bytes_) +
                                       " bytes, which the file of one page takes, found " +
                                       std::to_string(options_.max_bytes) + ". Give it a larger size.");
  dir_ = fs::absolute(options_.dir).lexically_normal().string();
  if (dir_.size() > 1 && dir_.back() == '/') dir_.pop_back();
  model_dir_ = dir_ + "/" + model_folder_name(fingerprint_);
  make_folder(dir_);
  check_folder(dir_);
  if (::access(dir_.c_str(), W_OK | X_OK) == 0) {
    space_ = open_space();
    return;
  }
  if (errno != EROFS && errno != EACCES && errno != EPERM)
    throw Error(ErrorKind::kRuntime,
                "the disk cache's folder " + dir_ + " cannot be used: " + std::strerror(errno));
  reads_only_ = true;
  log(LogLevel::kWarning, "the disk cache's folder " + dir_ + " cannot be written to (" +
                              std::strerror(errno) + "): its pages are used, and none are added");
  const FoundPages found = find_pages(dir_, wall_clock_ns(), false);
  found_at_opening_ = {found.bytes, found.pages, 0};
}

// The folder is counted anew by each process that opens it, because one that was killed may have left the
// numbers too large.
std::shared_ptr<PageSpace> DiskPages::open_space() {
  auto space = std::make_shared<PageSpace>(dir_ + "/space");
  const PageSpace::Lock lock(*space, kPatienceToOpen);
  if (!lock)
    throw Error(
        ErrorKind::kRuntime,
        "the disk cache's folder " + dir_ + " cannot be locked: " +
            (lock.error() == EWOULDBLOCK
                 ? "another process has it for " + std::to_string(kPatienceToOpen.count()) +
                       " s already. Perhaps that one is stopped; end it, or name another folder."
                 : std::string(std::strerror(lock.error())) + ". Name a folder of a local file system."));
  try {
    if (const int error = make_model_folder(model_dir_, fingerprint_, record_bytes_); error != 0)
      throw Failure{error, "make", model_dir_};
    Numbers numbers = space->read().value_or(Numbers{});
    count_again(&numbers);
    make_room(0, &numbers);
    if (const int error = space->write(numbers); error != 0) throw Failure{error, "write", dir_ + "/space"};
  } catch (const Failure& failure) {
    throw Error(ErrorKind::kRuntime, "the disk cache cannot be opened: " + failure.text());
  }
  return space;
}

// After the folder was removed: makes it anew. Throws Error.
void DiskPages::reopen() {
  make_folder(dir_);
  check_folder(dir_);
  std::shared_ptr<PageSpace> space = open_space();
  const std::lock_guard lock(mutex_);
  space_ = std::move(space);
}

void DiskPages::count_again(Numbers* numbers) {
  FoundPages found = find_pages(dir_, wall_clock_ns(), true);
  if (found.error != 0) throw Failure{found.error, "read", found.where};
  numbers->bytes = found.bytes;
  numbers->pages = found.pages;
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<PageName, PageIndex::Entry>> known;
  found.index.for_each([&](const PageName& name, const PageIndex::Entry& entry) {
    const PageIndex::Entry* const before = index_.find(name);
    if (before == nullptr) return;
    known.emplace_back(name, entry);
    known.back().second.cost_s = before->cost_s;
    known.back().second.stamp = std::max(entry.stamp, before->stamp);
  });
  for (const auto& [name, entry] : known) found.index.put(name, entry);
  index_ = std::move(found.index);
  folders_ = std::move(found.folders);
  n_added_known_ = numbers->added;
}

std::shared_ptr<PageSpace> DiskPages::space() const {
  const std::lock_guard lock(mutex_);
  return space_;
}

DiskPages::Numbers DiskPages::numbers() const {
  const std::shared_ptr<PageSpace> space = this->space();
  const std::optional<Numbers> found = space == nullptr ? std::nullopt : space->read();
  return found.value_or(found_at_opening_);
}

DiskPages::Numbers DiskPages::numbers_under_lock(const PageSpace& space) {
  if (const std::optional<Numbers> found = space.read()) return *found;
  Numbers numbers;
  count_again(&numbers);
  return numbers;
}

DiskPagesStats DiskPages::stats() const {
  return {counters_.stored,        counters_.loaded,         counters_.evicted, counters_.damaged,
          counters_.read_failures, counters_.write_failures, counters_.busy};
}

void DiskPages::log(LogLevel level, const std::string& text) const {
  if (log_) log_(level, text);
}

}  // namespace seer
