// The tier that keeps pages in the host's memory, for the GPU's pool.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/src/tiers/page_tier.h"
#include "kernels/backend.h"

namespace seer {

// All memory is taken at once, because to pin memory makes a GPU wait. The page that was stored or used the
// longest ago gives way first. Of a chain that used() names, the last page counts as the one used the longest
// ago, because it is useless without those before it.
class HostPages final : public PageTier {
 public:
  // Takes `bytes`, rounded down to whole records, of the memory that the backend copies from and to fastest.
  // Throws Error{kUsage} if that is not even one record, and Error{kMemory}.
  HostPages(int64_t bytes, int64_t record_bytes, Backend* backend);

  bool has(const PageName& name) override;
  bool store(const PageName& name, std::span<const std::byte> record, double cost_s) override;
  bool load(const PageName& name, std::span<std::byte> record) override;
  bool in_memory() const override { return true; }
  std::byte* begin_store(const PageName& name, double cost_s) override;
  void end_store(const PageName& name, bool complete) override;
  const std::byte* borrow(const PageName& name) override;
  void release_record(const PageName& name) override;
  void used(std::span<const PageName> chain) override;
  int64_t n_pages() const override;
  int64_t n_bytes() const override { return n_pages() * record_bytes_; }

 private:
  struct Page {
    std::byte* record = nullptr;
    int n_users = 0;        // that read or write the record now
    bool complete = false;  // false while it is written
    std::list<PageName>::iterator place;
  };
  std::byte* take_room();

  int64_t record_bytes_;
  std::vector<Buffer> blocks_;
  mutable std::mutex mutex_;
  std::vector<std::byte*> free_;
  std::unordered_map<PageName, Page, DigestHash> pages_;
  std::list<PageName> order_;  // the one that was used last comes first
};

}  // namespace seer
