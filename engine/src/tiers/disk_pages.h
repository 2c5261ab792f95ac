// The tier that keeps pages on a disk, where later processes find them again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/file_reader.h"
#include "engine/src/tiers/failure_pause.h"
#include "engine/src/tiers/page_file.h"
#include "engine/src/tiers/page_folder.h"
#include "engine/src/tiers/page_index.h"
#include "engine/src/tiers/page_space.h"
#include "engine/src/tiers/page_tier.h"
#include "seer/engine.h"

namespace seer {

// Calls to the system that may fail.
enum class DiskCall { kLook, kCreate, kWrite, kRename, kRemove, kOpen, kRead };

struct DiskPagesOptions {
  std::string dir = {};
  int64_t max_bytes = 0;  // of all files of pages in `dir`, of all models and processes
  // Reads go from the disk to the record, past the system's memory for files. That is right if a tier above
  // this one keeps in memory what is used often. Without such a tier, the system's memory should keep it.
  bool direct_reads = true;
  std::chrono::milliseconds first_pause{1000};  // after a failure; later ones are up to 64 times as long
  std::chrono::milliseconds patience{2000};     // for another process that has the folder's lock
  std::function<int(DiskCall)> fault = {};      // for tests: returns the errno that the call fails with, or 0
};

struct DiskPagesStats {
  int64_t n_stored = 0, n_loaded = 0, n_evicted = 0;
  int64_t n_damaged = 0;  // files with wrong contents, each of which is removed if it can be
  int64_t n_read_failures = 0, n_write_failures = 0;
  int64_t n_busy = 0;  // pages not kept because another process had the lock for too long
};

// Keeps each page in a file of its own (page_folder.h). Several processes may write, read and remove files.
// DESIGN.md in this folder says what is promised if one of them, or the machine, ends at any moment.
class DiskPages final : public PageTier {
 public:
  using Log = std::function<void(LogLevel, const std::string&)>;

  // Makes the folder if it is not there. Removes files that processes left unfinished, and pages if the
  // folder holds more than `max_bytes`. If the folder cannot be written to, its pages are only read. Throws
  // Error{kUsage} if `max_bytes` is less than a page takes or `dir` cannot be such a folder, and
  // Error{kRuntime} or Error{kFile} if it cannot be opened. `on_log` is called by any thread and must not
  // throw.
  DiskPages(DiskPagesOptions options, const PageFingerprint& fingerprint, int64_t record_bytes, Log on_log);

  bool has(const PageName& name) override;
  bool store(const PageName& name, std::span<const std::byte> record, double cost_s) override;
  bool load(const PageName& name, std::span<std::byte> record) override;
  void used(std::span<const PageName> chain) override;
  // These count the pages of all models, whichever process stored them.
  int64_t n_pages() const override { return numbers().pages; }
  int64_t n_bytes() const override { return numbers().bytes; }

  DiskPagesStats stats() const;
  bool reads_only() const { return reads_only_; }

 private:
  struct Failure;
  struct Counters {
    std::atomic<int64_t> stored = 0, loaded = 0, evicted = 0, damaged = 0, read_failures = 0,
                         write_failures = 0, busy = 0;
  };
  using Numbers = PageSpace::Numbers;

  // disk_pages_open.cc
  std::shared_ptr<PageSpace> open_space();
  void reopen();
  void count_again(Numbers* numbers);
  std::shared_ptr<PageSpace> space() const;
  Numbers numbers() const;
  Numbers numbers_under_lock(const PageSpace& space);

  // disk_pages.cc
  bool write_new(const PageName& name, std::span<const std::byte> record, double cost_s);
  std::optional<FileDescriptor> reserve(const PageSpace& space, const std::string& temporary);
  FileDescriptor create(const std::string& path);
  bool put_in_place(const PageSpace& space, const PageName& name, const std::string& temporary, int error);
  PageFileResult read(int fd, const PageName& name, std::span<std::byte> record, PageFileHead* head);
  void remove_damaged(const std::string& path, const PageName& name, const std::string& damage,
                      uint64_t inode);
  std::unique_ptr<PageFileBuffer> take_buffer();
  void give_back(std::unique_ptr<PageFileBuffer> buffer);
  void read_failed(int error, const std::string& path);
  void write_failed(const Failure& failure);
  int fault(DiskCall call) const { return options_.fault ? options_.fault(call) : 0; }
  void log(LogLevel level, const std::string& text) const;

  // disk_pages_room.cc: which pages stay
  bool make_room(int64_t bytes, Numbers* numbers);
  void evict_first(Numbers* numbers);
  void mark_used(const PageName& name, double cost_s);
  static void set_stamp(const std::string& path, int64_t stamp);
  bool learn(const PageName& name);
  std::string path_of(const PageName& name) const { return model_dir_ + "/" + page_file_name(name); }

  const DiskPagesOptions options_;
  const PageFingerprint fingerprint_;
  const int64_t record_bytes_, file_bytes_;
  const Log log_;
  std::string dir_, model_dir_;
  bool reads_only_ = false;
  FailurePause reads_, writes_;
  Counters counters_;
  std::atomic<uint64_t> next_temporary_ = 0;

  // The order of locks: PageSpace::Lock, then mutex_, which is held for a moment only.
  mutable std::mutex mutex_;
  std::shared_ptr<PageSpace> space_;  // null if reads_only_
  PageIndex index_;
  std::vector<std::string> folders_;  // of PageIndex::Entry::folder
  PageWorth worth_;
  Numbers found_at_opening_;   // if reads_only_
  int64_t n_added_known_ = 0;  // Numbers::added at the last count, and what this process added since then
  std::vector<std::unique_ptr<PageFileBuffer>> buffers_;
};

}  // namespace seer
