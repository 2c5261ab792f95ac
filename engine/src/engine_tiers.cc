// Sets up the tiers below the pool from the options.
#include <algorithm>
#include <string>

#include "engine/src/engine_impl.h"
#include "engine/src/tiers/disk_pages.h"
#include "engine/src/tiers/host_pages.h"

namespace seer {
namespace {

// One thread does not get from a disk what it can give. DESIGN.md in tiers/, chapter "The disk", has the
// times of one thread and of four.
constexpr int kStorageThreads = 4;

}  // namespace

void EngineImpl::check_tiers() const {
  const auto refuse = [](const std::string& text) { throw Error(ErrorKind::kUsage, text); };
  const std::string& dir = options_.disk_cache_dir;
  const int64_t disk = options_.disk_cache_bytes, host = options_.host_cache_bytes;
  if (dir.empty() && disk != 0)
    refuse("expected a folder for the disk cache of " + std::to_string(disk) + " bytes, found none");
  if (!dir.empty() && disk < 1)
    refuse("expected a disk cache of 1 byte or more in " + dir + ", found " + std::to_string(disk));
  if (host < 0) refuse("expected a host cache of 0 bytes or more, found " + std::to_string(host));
  if (host > 0 && !model_.backend().has_own_memory())
    refuse(
        "a host cache needs a GPU: on a CPU the pool of pages lies in the host's memory already. Use a "
        "larger "
        "--pool-size.");
  if (!has_tiers()) return;
  if (!options_.prefix_cache)
    refuse("a disk cache and a host cache need the prefix cache, which is off (--no-prefix-cache)");
  if (prefill_traits().positions_depend_on_length)
    log(LogLevel::kWarning,
        "under dynamic RoPE pages serve prompts of one length only, so the disk cache and the host cache get "
        "none");
}

std::unique_ptr<TieredPages> EngineImpl::make_tiers() {
  if (!has_tiers()) return nullptr;
  auto mover = std::make_unique<ModelPageMover>(&*page_transfer_, &model_.backend(), info_.page_tokens);
  TierOptions options;
  options.fingerprint = fingerprint();
  options.page_tokens = info_.page_tokens;
  // Two chunks, so that the pages which one step evicts are copied during the step before. And a quarter of
  // the pool, because bringing a document back evicts as many pages at once as it has.
  options.watermark_pages = std::max(2 * info_.chunk_size / info_.page_tokens, info_.n_pages / 4);
  options.storage_threads = options_.disk_cache_dir.empty() ? 1 : kStorageThreads;
  options.warn = [this](const std::string& text) { log(LogLevel::kWarning, text); };
  const int64_t record = mover->record_bytes();
  if (options_.host_cache_bytes > 0)
    options.tiers[static_cast<size_t>(TierKind::kHost)] =
        std::make_shared<HostPages>(options_.host_cache_bytes, record, &model_.backend());
  if (!options_.disk_cache_dir.empty()) {
    DiskPagesOptions disk;
    disk.dir = options_.disk_cache_dir;
    disk.max_bytes = options_.disk_cache_bytes;
    // What is used often is in the host's tier then, and need not be in the system's memory for files as
    // well.
    disk.direct_reads = options_.host_cache_bytes > 0;
    options.tiers[static_cast<size_t>(TierKind::kDisk)] =
        std::make_shared<DiskPages>(disk, options.fingerprint, record,
                                    [this](LogLevel level, const std::string& text) { log(level, text); });
  }
  return std::make_unique<TieredPages>(pages_.get(), std::move(mover), std::move(options));
}

}  // namespace seer
