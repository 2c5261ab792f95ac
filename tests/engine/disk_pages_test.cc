// The tier of pages on a disk: what is found again, by whom, and what goes if there is no room.
#include "tests/engine/disk_pages.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;
namespace fs = std::filesystem;
using Pages = std::vector<int64_t>;

TEST_CASE("a page that was stored on the disk is loaded with the same bytes") {
  const DiskFolder folder;
  // These sizes are at and next to the edges of a file's blocks.
  for (const int64_t n : {1, 4095, 4096, 4097, 10'000, 400'000}) {
    INFO(n << " bytes");
    const PageFingerprint model = {{"bytes", std::to_string(n)}};
    Disk disk(folder, 100, model, {}, n);
    CHECK_FALSE(disk->has(test_page(0, model)));
    CHECK_FALSE(disk.load(0));
    CHECK(disk.store(0));
    CHECK(disk->has(test_page(0, model)));
    CHECK(disk.load(0));
    CHECK_FALSE(disk->has(test_page(1, model)));
    CHECK(disk.lines().empty());
  }
}

TEST_CASE("records at any place in memory are stored and loaded, directly or not") {
  const DiskFolder folder;
  for (const bool direct : {true, false}) {
    DiskPagesOptions options;
    options.direct_reads = direct;
    Disk disk(folder, 100, kPagesModel, options);
    const PageFileBuffer aligned(3 * kRecord);
    for (const size_t offset : {0, 1, 512, 4096}) {
      INFO("direct " << direct << ", at " << offset);
      const PageName name = test_page(static_cast<int64_t>(offset) + (direct ? 0 : 10'000));
      const Record record = record_of(name);
      const std::span<std::byte> place = aligned.record().subspan(offset, record.size());
      std::copy(record.begin(), record.end(), place.begin());
      CHECK(disk->store(name, place, 1.0));
      std::fill(place.begin(), place.end(), std::byte{0});
      CHECK(disk->load(name, place));
      CHECK(std::equal(record.begin(), record.end(), place.begin()));
    }
  }
}

TEST_CASE("pages are found again after a restart, and counted") {
  const DiskFolder folder;
  {
    Disk disk(folder, 10);
    for (int64_t i = 0; i < 3; ++i) CHECK(disk.store(i));
    CHECK(disk->n_pages() == 3);
    CHECK(disk->n_bytes() == 3 * page_file_bytes(kRecord));
  }
  Disk disk(folder, 10);
  CHECK(disk->n_pages() == 3);
  CHECK(disk->n_bytes() == folder.bytes());
  CHECK(disk.which(5) == Pages{0, 1, 2});
  for (int64_t i = 0; i < 3; ++i) CHECK(disk.load(i));
  CHECK(disk->stats().n_loaded == 3);
  CHECK(disk.lines().empty());
}

TEST_CASE("a page that is stored twice is one file") {
  const DiskFolder folder;
  Disk disk(folder, 10);
  CHECK(disk.store(1));
  CHECK(disk.store(1));
  CHECK(disk->n_pages() == 1);
  CHECK(disk->stats().n_stored == 1);
}

TEST_CASE("a record of another size than the tier's is neither stored nor loaded") {
  const DiskFolder folder;
  Disk disk(folder, 10);
  Record record(kRecord - 1);
  CHECK_FALSE(disk->store(test_page(1), record, 1.0));
  CHECK(disk.store(1));
  CHECK_FALSE(disk->load(test_page(1), record));
}

TEST_CASE("if there is no room, the page that was unused the longest goes first, also after a restart") {
  const DiskFolder folder;
  {
    Disk disk(folder, 3);
    for (int64_t i = 0; i < 3; ++i) CHECK(disk.store(i));
    CHECK(disk.load(0));
    CHECK(disk.store(3));
    CHECK(disk.which(5) == Pages{0, 2, 3});
    CHECK(disk->n_bytes() == folder.bytes());
    CHECK(disk->stats().n_evicted == 1);
  }
  // Page 0 was used so soon after it was stored that its use was not written down. So its file is the oldest
  // one.
  Disk disk(folder, 3);
  CHECK(disk.store(4));
  CHECK(disk.which(5) == Pages{2, 3, 4});
}

TEST_CASE("a use is written down for later processes if the last one was long ago") {
  const DiskFolder folder;
  {
    Disk disk(folder, 3);
    for (int64_t i = 0; i < 3; ++i) CHECK(disk.store(i));
  }
  for (int64_t i = 0; i < 3; ++i)
    fs::last_write_time(folder.file(test_page(i)),
                        fs::file_time_type::clock::now() - std::chrono::hours(2 - i / 2));
  {
    Disk disk(folder, 3);
    CHECK(disk.load(0));
  }
  Disk disk(folder, 3);
  CHECK(disk.store(3));
  CHECK(disk.which(4) == Pages{0, 2, 3});
}

TEST_CASE("the last pages of a prompt go before the first ones, which every longer prompt needs") {
  const DiskFolder folder;
  const std::vector<PageName> chain = {test_page(0), test_page(1), test_page(2), test_page(9), test_page(3)};
  {
    Disk disk(folder, 5);
    for (int64_t i = 0; i < 4; ++i) CHECK(disk.store(i));
    disk->used(chain);  // page 9 was never stored
    CHECK(disk.store(4));
    CHECK(disk.store(5));
    CHECK(disk.which(6) == Pages{0, 1, 2, 4, 5});
  }
  Disk disk(folder, 5);  // the order lasts
  CHECK(disk.store(6));
  CHECK(disk.which(7) == Pages{0, 1, 4, 5, 6});
}

TEST_CASE("a folder that holds more than the size is cut down when it is opened") {
  const DiskFolder folder;
  {
    Disk disk(folder, 10);
    for (int64_t i = 0; i < 10; ++i) CHECK(disk.store(i));
  }
  Disk disk(folder, 4);
  CHECK(disk.which(10) == Pages{6, 7, 8, 9});
  CHECK(folder.bytes() == 4 * page_file_bytes(kRecord));
}

TEST_CASE("pages of several models share the size, and the oldest of all go first") {
  const DiskFolder folder;
  Disk one(folder, 4), other(folder, 4, kOtherModel);
  CHECK(one.store(0));
  CHECK(other.store(0));
  CHECK(one.store(1));
  CHECK(other.store(1));
  CHECK(other.store(2));
  CHECK(other.store(3));
  CHECK(one.which(4) == Pages{1});
  CHECK(other.which(4) == Pages{1, 2, 3});
  CHECK_FALSE(one->has(test_page(1, kOtherModel)));
  CHECK(one->n_pages() == 4);
  CHECK(one->n_bytes() == folder.bytes());
}

TEST_CASE("a page that another process stored is found, and its use by that process keeps it") {
  const DiskFolder folder;
  Disk one(folder, 3), other(folder, 3);
  for (int64_t i = 0; i < 3; ++i) CHECK(one.store(i));
  CHECK(other.which(4) == Pages{0, 1, 2});
  CHECK(other.load(1));
  CHECK(other.store(2));
  CHECK(other->stats().n_stored == 0);
  // As if all had been stored long ago, and the other process had used page 0 since then.
  for (int64_t i = 1; i < 3; ++i)
    fs::last_write_time(folder.file(test_page(i)), fs::file_time_type::clock::now() - std::chrono::hours(1));
  fs::last_write_time(folder.file(test_page(0)), fs::file_time_type::clock::now() + std::chrono::seconds(1));
  CHECK(one.store(3));
  CHECK(one.which(4) == Pages{0, 2, 3});
}

TEST_CASE("a process may remove pages that another process has stored") {
  const DiskFolder folder;
  Disk one(folder, 8), other(folder, 8);
  for (int64_t i = 0; i < 8; ++i) CHECK(one.store(i));
  for (int64_t i = 8; i < 12; ++i) CHECK(other.store(i));
  CHECK(one.which(12) == Pages{4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(one->n_bytes() == folder.bytes());
}

TEST_CASE("processes that store at the same time keep the size, and lose nothing that they say they have") {
  const DiskFolder folder;
  constexpr int64_t kPages = 6, kNames = 40;
  { const Disk made(folder, kPages); }
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      Disk disk(folder, kPages, child == 2 ? kOtherModel : kPagesModel);
      for (int64_t i = 0; i < 150; ++i) {
        disk.store((i * 7 + child) % kNames);
        Record record(kRecord);
        const PageName name = test_page(i % kNames, child == 2 ? kOtherModel : kPagesModel);
        if (disk->load(name, record) && record != record_of(name)) ::_exit(2);
      }
      ::_exit(disk.lines().empty() ? 0 : 3);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = -1;
    CHECK(::waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
  }
  CHECK(folder.bytes() <= kPages * page_file_bytes(kRecord));
  CHECK(folder.files(".tmp").empty());
  const Disk before(folder, kPages);
  Disk disk(folder, kPages);
  CHECK(disk->n_bytes() == folder.bytes());
  for (const int64_t i : disk.which(kNames)) CHECK(disk.load(i));
}

TEST_CASE("what is dear to compute stays longer than what is cheap, but not for ever") {
  // A page is stored each second, and there is room for ten. Every second page is dear: it costs four times
  // as much as the others.
  PageIndex index;
  PageWorth worth(10);
  const auto name = [](int64_t i) { return test_page(i); };
  constexpr int64_t kSecond = 1'000'000'000;
  std::vector<int64_t> gone_after[2];
  for (int64_t i = 0; i < 400; ++i) {
    const int64_t now = i * kSecond;
    const double cost = i % 2 == 0 ? 1.0 : 4.0;
    if (index.size() == 10) {
      const auto [victim, entry] = *index.first();
      index.erase(victim);
      worth.evicted(now, entry);
      const auto stored = entry.stamp_on_disk;  // in this test, the time when it was stored
      if (i > 100) gone_after[entry.cost_s > 2].push_back((now - stored) / kSecond);
    }
    worth.stored(cost, 1);
    index.put(name(i), {worth.stamp(now, cost, 1), now, 1, 0, cost});
  }
  REQUIRE_FALSE(gone_after[0].empty());
  REQUIRE_FALSE(gone_after[1].empty());
  const auto [least_dear, most_dear] = std::minmax_element(gone_after[1].begin(), gone_after[1].end());
  CHECK(*least_dear > *std::max_element(gone_after[0].begin(), gone_after[0].end()));
  CHECK(*most_dear < 40);
}

TEST_CASE("if all pages cost the same, their order is that of their last use, however long they stay") {
  PageWorth worth(10);
  int64_t last = 0;
  for (int64_t i = 1; i < 100; ++i) {
    worth.stored(2.0, 1);
    worth.evicted(1000 * i, {i * i, 0, 1, 0, 2.0});
    const int64_t stamp = worth.stamp(1000 * i, 2.0, 1);
    CHECK(stamp == 1000 * i);
    CHECK(stamp > last);
    last = stamp;
  }
}

TEST_CASE("nobody but its owner can read the folder or a page") {
  const mode_t before = ::umask(0);
  const DiskFolder folder;
  Disk disk(folder, 10);
  CHECK(disk.store(1));
  ::umask(before);
  struct stat info {};
  const std::string model = folder.path() + "/" + model_folder_name(kPagesModel);
  for (const std::string& path :
       {folder.path(), model, fs::path(folder.file(test_page(1))).parent_path().string()}) {
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0700);
  }
  for (const std::string& path :
       {folder.path() + "/space", model + "/model.json", folder.file(test_page(1))}) {
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
  }
}

TEST_CASE("the folder says in words which model its pages are of") {
  const DiskFolder folder;
  const Disk disk(folder, 10);
  const std::string text = read_file(folder.path() + "/" + model_folder_name(kPagesModel) + "/model.json");
  CHECK_THAT(text, ContainsSubstring("\"the weights\": \"abc\"") &&
                       ContainsSubstring("\"bytes of a page\": 10000") &&
                       ContainsSubstring(model_digest(kPagesModel).to_hex()));
}

TEST_CASE("a place that is no folder for pages is refused by name") {
  const DiskFolder folder;
  const auto open = [&](const std::string& dir, int64_t max_bytes) {
    return [=] { DiskPages({.dir = dir, .max_bytes = max_bytes}, kPagesModel, kRecord, {}); };
  };
  const int64_t one = page_file_bytes(kRecord);
  const std::string small = refusal(ErrorKind::kUsage, open(folder.path(), one - 1));
  CHECK_THAT(small, ContainsSubstring(std::to_string(one)) && ContainsSubstring(std::to_string(one - 1)));
  CHECK_FALSE(fs::exists(folder.path()));
  CHECK_THAT(refusal(ErrorKind::kUsage, open("", one)), ContainsSubstring("expected a folder"));
  write_file(folder.path(), "text");
  CHECK_THAT(refusal(ErrorKind::kUsage, open(folder.path(), one)),
             ContainsSubstring("found a file: " + folder.path()));
  CHECK_THAT(refusal(ErrorKind::kUsage, open(folder.path() + "/below", one)),
             ContainsSubstring("Not a directory"));
  fs::remove(folder.path());
  fs::create_directory(folder.path());
  fs::permissions(folder.path(), fs::perms::all);
  CHECK_THAT(refusal(ErrorKind::kUsage, open(folder.path(), one)), ContainsSubstring("everybody"));
  fs::permissions(folder.path(), fs::perms::owner_all);
  write_file(folder.path() + "/space", std::string(1000, 'x'));
  CHECK_THAT(refusal(ErrorKind::kFile, open(folder.path(), one)), ContainsSubstring("a folder of its own"));
}

TEST_CASE("a folder of another version of the disk cache is refused and left as it is") {
  const DiskFolder folder;
  { const Disk disk(folder, 1); }
  std::string bytes = read_file(folder.path() + "/space");
  bytes[8] = 2;
  write_file(folder.path() + "/space", bytes);
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { const Disk disk(folder, 1); }),
             ContainsSubstring("found version 2"));
  CHECK(read_file(folder.path() + "/space") == bytes);
}

}  // namespace
}  // namespace seer
