// The tier of pages on a disk: damaged and foreign files, and a disk that fails.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include "tests/engine/disk_pages.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;
namespace fs = std::filesystem;
using Pages = std::vector<int64_t>;

// Changes the file of a page while no tier is open, and returns what a new one says when it loads the page.
template <class Change>
std::string said_of(const DiskFolder& folder, const Change& change, bool expected = false) {
  { CHECK(Disk(folder, 10).store(1)); }
  const std::string path = folder.file(test_page(1));
  change(path);
  Disk disk(folder, 10);
  CHECK(disk.load(1) == expected);
  CHECK(disk->stats().n_damaged == (expected ? 0 : 1));
  CHECK(disk->has(test_page(1)) == expected);
  CHECK(fs::exists(path) == expected);
  CHECK(disk->n_bytes() == folder.bytes());
  CHECK(disk.store(1));
  CHECK(disk.load(1));
  const std::vector<std::string> lines = disk.lines();
  CHECK(lines.size() == (expected ? 0 : 1));
  return lines.empty() ? "" : lines[0];
}

TEST_CASE("a flipped bit anywhere in the head or in the contents of a page on the disk is found") {
  const DiskFolder folder;
  std::vector<size_t> places = {96, 2000, 4079, 4080, 4087, 4088, 4095, 4096, 4097, 8192, 9000, 14'095};
  for (size_t at = 0; at < 96; at += 4) places.push_back(at);
  for (const size_t at : places) {
    INFO("byte " << at);
    const std::string line = said_of(folder, [&](const std::string& path) {
      std::string bytes = read_file(path);
      bytes.at(at) ^= static_cast<char>(1 << at % 8);
      write_file(path, bytes);
    });
    CHECK_THAT(line, ContainsSubstring(folder.file(test_page(1))) && ContainsSubstring("is not used"));
  }
}

TEST_CASE("the zeros after a page's contents mean nothing") {
  const DiskFolder folder;
  said_of(
      folder,
      [&](const std::string& path) {
        std::string bytes = read_file(path);
        bytes.back() = 'x';
        write_file(path, bytes);
      },
      true);
}

TEST_CASE("a page on the disk that was cut short, has grown or is empty is not used") {
  const DiskFolder folder;
  for (const size_t n : {0, 1, 4095, 4096, 8192, 16'383, 16'385, 20'480}) {
    INFO(n << " of 16384 bytes");
    CHECK_THAT(said_of(folder, [&](const std::string& path) { fs::resize_file(path, n); }),
               ContainsSubstring("expected a file of 16384 bytes, found one of " + std::to_string(n)));
  }
}

TEST_CASE("a page that lost power left full of zeros is not used") {
  const DiskFolder folder;
  CHECK_THAT(said_of(folder, [&](const std::string& path) { write_file(path, std::string(16'384, '\0')); }),
             ContainsSubstring("does not begin as a page"));
}

TEST_CASE("a page under the name of another one is not used") {
  const DiskFolder folder;
  CHECK_THAT(said_of(folder,
                     [&](const std::string& path) {
                       const std::string other = folder.file(test_page(2));
                       fs::create_directories(fs::path(other).parent_path());
                       fs::rename(path, other);
                       fs::rename(other, path);
                       CHECK(Disk(folder, 10).store(2));
                       fs::rename(other, path);
                     }),
             ContainsSubstring("holds the page " + test_page(2).to_hex()));
}

TEST_CASE("a page of another size under the right name is not used") {
  const DiskFolder folder;
  CHECK_THAT(
      said_of(folder,
              [&](const std::string& path) {
                const FileDescriptor fd(::open(path.c_str(), O_WRONLY));
                const Record record = record_of(test_page(1), kRecord - 1);
                const PageFileBuffer buffer(kRecord - 1);
                REQUIRE(write_page_file(fd.get(), {test_page(1), kRecord - 1, 0.0, checksum_of(record)},
                                        record, buffer) == 0);
              }),
      ContainsSubstring("expected a page of 10000 bytes, found one of 9999"));
}

TEST_CASE("a file of the wrong size is replaced when its page is stored") {
  const DiskFolder folder;
  { CHECK(Disk(folder, 10).store(1)); }
  fs::resize_file(folder.file(test_page(1)), 5000);
  Disk disk(folder, 10);
  CHECK_FALSE(disk->has(test_page(1)));
  CHECK(disk.store(1));
  CHECK(disk.load(1));
  CHECK(disk->n_bytes() == folder.bytes());
  CHECK(disk->n_pages() == 1);
}

TEST_CASE("many damaged pages are not reported line by line for ever") {
  const DiskFolder folder;
  Disk disk(folder, 30);
  for (int64_t i = 0; i < 30; ++i) {
    CHECK(disk.store(i));
    fs::resize_file(folder.file(test_page(i)), 1);
    CHECK_FALSE(disk.load(i));
  }
  CHECK(disk->stats().n_damaged == 30);
  CHECK(disk.lines().size() == 16);
  CHECK_THAT(disk.lines().back(), ContainsSubstring("further ones are not reported"));
}

TEST_CASE("foreign files in the folder are neither counted nor read nor removed") {
  const DiskFolder folder;
  { CHECK(Disk(folder, 1).store(0)); }
  const std::string model = folder.path() + "/" + model_folder_name(kPagesModel);
  const std::string name = test_page(1).to_hex();
  const std::string elsewhere = name.substr(0, 2) == "ff" ? "fe" : "ff";
  std::vector<std::string> foreign = {
      folder.path() + "/notes.txt",
      folder.path() + "/" + name,
      folder.path() + "/photos/" + name.substr(0, 2) + "/" + name,
      folder.path() + "/" + std::string(32, 'a') + "/" + name.substr(0, 2) + "/" + name,  // no model.json
      model + "/notes.txt",
      model + "/" + name,
      model + "/abc/" + name,
      model + "/" + elsewhere + "/" + name,
      model + "/" + name.substr(0, 2) + "/" + name + ".bak",
      model + "/" + name.substr(0, 2) + "/" + name.substr(0, 63),
      model + "/" + name.substr(0, 2) + "/" + name.substr(0, 2) + std::string(62, 'A'),
      model + "/" + name.substr(0, 2) + "/notes.tmp",
  };
  for (const std::string& path : foreign) {
    fs::create_directories(fs::path(path).parent_path());
    write_file(path, std::string(50'000, 'x'));
  }
  fs::create_symlink(foreign[0], folder.file(test_page(1)));
  Disk disk(folder, 1);
  CHECK(disk->n_pages() == 1);
  CHECK(disk.load(0));
  CHECK_FALSE(disk->has(test_page(1)));
  CHECK_FALSE(disk.load(1));
  CHECK(disk.store(2));  // instead of page 0
  CHECK_FALSE(disk.store(1));
  CHECK(fs::is_symlink(folder.file(test_page(1))));
  for (const std::string& path : foreign) {
    INFO(path);
    CHECK(fs::file_size(path) == 50'000);
  }
}

TEST_CASE("what a process left that ended while it wrote is removed, and what a living one writes is not") {
  const DiskFolder folder;
  { CHECK(Disk(folder, 10).store(1)); }
  const std::string left = folder.file(test_page(1)) + ".123-4-5.tmp",
                    living = folder.file(test_page(1)) + ".6.tmp";
  write_file(left, std::string(16'384, 'x'));
  write_file(living, std::string(16'384, 'x'));
  const FileDescriptor writer(::open(living.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(writer.get(), LOCK_EX) == 0);
  Disk disk(folder, 10);
  CHECK_FALSE(fs::exists(left));
  CHECK(fs::exists(living));
  CHECK(disk->n_bytes() == 2 * page_file_bytes(kRecord));
  CHECK(disk.lines().empty());
}

TEST_CASE("if all of the size is being written by others, a page is not kept") {
  const DiskFolder folder;
  Disk disk(folder, 1);
  const PageSpace space(folder.path() + "/space");
  const std::string living = folder.file(test_page(1)) + ".6.tmp";
  fs::create_directories(fs::path(living).parent_path());
  write_file(living, std::string(16'384, 'x'));
  const FileDescriptor writer(::open(living.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(writer.get(), LOCK_EX) == 0);
  REQUIRE(space.write({16'384, 1, 1}) == 0);
  CHECK_FALSE(disk.store(1));
  CHECK(disk.lines().empty());
  CHECK(folder.bytes() == 16'384);
}

// Returns a disk whose calls of one kind fail with `error` while that is not 0.
DiskPagesOptions failing(DiskCall call, const int* error) {
  DiskPagesOptions options;
  options.first_pause = std::chrono::milliseconds(100);  // long enough for what a test does meanwhile
  options.fault = [=](DiskCall now) { return now == call ? *error : 0; };
  return options;
}

// Tries until it works, for 10 s.
template <class Try>
bool in_the_end(const Try& attempt) {
  for (int i = 0; i < 2000; ++i) {
    if (attempt()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

TEST_CASE(
    "a disk that is full or cannot be written to is reported once, left alone for a while, and tried again") {
  for (const auto& [call, error] : {std::pair{DiskCall::kWrite, ENOSPC},
                                    {DiskCall::kWrite, EIO},
                                    {DiskCall::kCreate, EACCES},
                                    {DiskCall::kCreate, EDQUOT},
                                    {DiskCall::kCreate, EROFS},
                                    {DiskCall::kRename, ESTALE},
                                    {DiskCall::kRemove, EPERM}}) {
    INFO("call " << static_cast<int>(call) << ", " << std::strerror(error));
    const DiskFolder folder;
    int now = 0;
    Disk disk(folder, 2, kPagesModel, failing(call, &now));
    CHECK(disk.store(0));
    CHECK(disk.store(1));
    now = error;
    for (int64_t i = 2; i < 10; ++i) CHECK_FALSE(disk.store(i));
    CHECK(disk.lines().size() == 1);
    CHECK_THAT(disk.lines()[0], ContainsSubstring(std::strerror(error)));
    CHECK(disk->stats().n_write_failures <= 2);  // the others were not tried
    CHECK(disk->stats().n_write_failures >= 1);
    CHECK(disk->n_bytes() == folder.bytes());
    CHECK(folder.files(".tmp").empty());
    for (const int64_t i : disk.which(2)) CHECK(disk.load(i));
    now = 0;
    CHECK(in_the_end([&] { return disk.store(5); }));
    CHECK(disk.load(5));
    CHECK(disk.lines().size() == 2);
    CHECK_THAT(disk.lines()[1], ContainsSubstring("again"));
    CHECK(disk->n_bytes() == folder.bytes());
  }
}

TEST_CASE("a disk that cannot be read is reported once, and has no pages until it is tried again") {
  for (const auto& [call, error] : {std::pair{DiskCall::kRead, EIO},
                                    {DiskCall::kOpen, EACCES},
                                    {DiskCall::kOpen, ESTALE},
                                    {DiskCall::kLook, EIO}}) {
    INFO("call " << static_cast<int>(call) << ", " << std::strerror(error));
    const DiskFolder folder;
    int now = 0;
    Disk disk(folder, 10, kPagesModel, failing(call, &now));
    for (int64_t i = 0; i < 5; ++i) CHECK(disk.store(i));
    now = error;
    for (int64_t i = 0; i < 5; ++i) CHECK_FALSE((disk->has(test_page(i)) && disk.load(i)));
    CHECK(disk->stats().n_read_failures == 1);
    CHECK(disk.lines().size() == 1);
    CHECK_THAT(disk.lines()[0], ContainsSubstring(std::strerror(error)));
    now = 0;
    CHECK(in_the_end([&] { return disk.load(0); }));
    for (int64_t i = 1; i < 5; ++i) CHECK(disk.load(i));
    CHECK(disk.lines().size() == 2);
  }
}

TEST_CASE("a file size limit of the process ends as a full disk does") {
  const DiskFolder folder;
  const pid_t pid = ::fork();
  if (pid == 0) {  // a process of its own, because the limit would hold for all later tests
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {8192, 8192};
    Disk disk(folder, 10);
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    const bool stored = disk.store(1) || disk.store(2);
    ::_exit(stored ? 2 : disk.lines().size() == 1 && folder.bytes() == 0 && disk->n_bytes() == 0 ? 0 : 3);
  }
  int status = -1;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

TEST_CASE("a folder that is removed while it is used is made anew") {
  const DiskFolder folder;
  DiskPagesOptions options;
  options.first_pause = std::chrono::milliseconds(1);
  Disk disk(folder, 10, kPagesModel, options);
  CHECK(disk.store(1));
  fs::remove_all(folder.path());
  CHECK_FALSE(disk->has(test_page(1)));
  CHECK_FALSE(disk.load(1));
  CHECK(disk.store(2));
  CHECK(disk.load(2));
  CHECK(disk->n_bytes() == folder.bytes());
  CHECK(disk->n_pages() == 1);
  // If the folder cannot be made, that is reported once.
  fs::remove_all(folder.path());
  write_file(folder.path(), "in the way");
  for (int64_t i = 3; i < 6; ++i) CHECK_FALSE(disk.store(i));
  CHECK_THAT(disk.lines().at(0), ContainsSubstring("found a file"));
  CHECK_FALSE(disk->has(test_page(2)));
  CHECK(read_file(folder.path()) == "in the way");
}

TEST_CASE("another process that keeps the lock costs pages, not requests") {
  const DiskFolder folder;
  DiskPagesOptions options;
  options.patience = std::chrono::milliseconds(20);
  Disk disk(folder, 10, kPagesModel, options);
  CHECK(disk.store(1));
  {
    const PageSpace other(folder.path() + "/space");
    const PageSpace::Lock lock(other, std::chrono::milliseconds(0));
    REQUIRE(lock);
    CHECK_FALSE(disk.store(2));
    CHECK(disk->stats().n_busy == 1);
    CHECK(disk.load(1));
    CHECK(disk->n_pages() == 1);
  }
  CHECK(disk.store(2));
  CHECK(disk.lines().empty());
}

TEST_CASE("a folder that cannot be written to is read") {
  const DiskFolder folder;
  { CHECK(Disk(folder, 10).store(1)); }
  if (::geteuid() == 0) {
    skip("root can write to every folder");
    return;
  }
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  Disk disk(folder, 10);
  CHECK(disk->reads_only());
  CHECK(disk.load(1));
  CHECK(disk.store(1));
  CHECK_FALSE(disk.store(2));
  CHECK(disk->n_pages() == 1);
  CHECK(disk.lines().size() == 1);
  fs::permissions(folder.path(), fs::perms::owner_all);
}

}  // namespace
}  // namespace seer
