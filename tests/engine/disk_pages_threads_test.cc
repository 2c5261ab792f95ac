// The tier of pages on a disk, used by several threads and by two tiers of one folder at the same time.
#include <atomic>
#include <thread>

#include "tests/engine/disk_pages.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

TEST_CASE("threads store, load, use and count pages on a disk at the same time") {
  const DiskFolder folder;
  constexpr int64_t kPages = 8, kNames = 24;
  Disk one(folder, kPages), other(folder, kPages);
  std::atomic<int64_t> n_wrong = 0, n_loaded = 0;
  std::vector<PageName> chain;
  for (int64_t i = 0; i < kNames; ++i) chain.push_back(test_page(i));
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      DiskPages& pages = t % 2 == 0 ? *one : *other;
      Record record(kRecord);
      for (int64_t i = 0; i < 60; ++i) {
        const PageName& stored = chain[static_cast<size_t>((i * 5 + t) % kNames)];
        pages.store(stored, record_of(stored), 1.0 + static_cast<double>(i % 3));
        const PageName& loaded = chain[static_cast<size_t>((i * 7 + t) % kNames)];
        if (pages.has(loaded) && pages.load(loaded, record)) {
          ++n_loaded;
          n_wrong += record != record_of(loaded);
        }
        pages.used(std::span(chain).first(static_cast<size_t>(i % kNames)));
        n_wrong += pages.n_bytes() > kPages * page_file_bytes(kRecord) || pages.n_pages() > kPages;
      }
    });
  threads.clear();
  CHECK(n_wrong == 0);
  CHECK(n_loaded > 0);
  CHECK(folder.bytes() <= kPages * page_file_bytes(kRecord));
  CHECK(folder.bytes() == one->n_bytes());
  CHECK(folder.files(".tmp").empty());
  CHECK(one.lines().empty());
  CHECK(other.lines().empty());
  for (const int64_t i : one.which(kNames)) CHECK(other.load(i));
}

}  // namespace
}  // namespace seer
