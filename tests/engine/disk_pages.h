// What the tests of DiskPages share: pages whose contents follow from their names.
#pragma once

#include <string>
#include <vector>

#include "engine/src/tiers/disk_pages.h"
#include "tests/support/test_data.h"

namespace seer::testing {

using Record = std::vector<std::byte>;

constexpr int64_t kRecord = 10'000;  // not a multiple of 4096, so its last bytes share a block with zeros
const PageFingerprint kPagesModel = {{"the weights", "abc", "-m"}, {"a page", "64 tokens"}};
const PageFingerprint kOtherModel = {{"the weights", "abd", "-m"}, {"a page", "64 tokens"}};

PageName test_page(int64_t i, const PageFingerprint& model = kPagesModel);
Record record_of(const PageName& name, int64_t n_bytes = kRecord);

// A folder for a disk cache, inside one that is removed at the end of the scope.
class DiskFolder {
 public:
  std::string path() const { return (dir_.path() / "cache").string(); }
  std::string file(const PageName& name, const PageFingerprint& model = kPagesModel) const;
  // Returns the sizes of all files of pages together, of those that are being written too.
  int64_t bytes() const;
  std::vector<std::string> files(const std::string& suffix) const;

 private:
  TempDir dir_;
};

// A tier for `n_pages`, and what it said.
class Disk {
 public:
  Disk(const DiskFolder& folder, int64_t n_pages, const PageFingerprint& model = kPagesModel,
       DiskPagesOptions options = {}, int64_t n_bytes = kRecord);

  DiskPages* operator->() { return &pages_; }
  DiskPages& operator*() { return pages_; }
  bool store(int64_t i, double cost_s = 1.0);
  // Returns whether the page is there. If it is, its contents must be those of its name.
  bool load(int64_t i);
  // Returns the pages of [0, n) that are there, as has() says.
  std::vector<int64_t> which(int64_t n);
  std::vector<std::string> lines() const;

 private:
  PageFingerprint model_;
  int64_t n_bytes_;
  struct Lines;
  std::shared_ptr<Lines> lines_;
  DiskPages pages_;
};

}  // namespace seer::testing
