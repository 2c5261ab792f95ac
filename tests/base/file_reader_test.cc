#include "engine/base/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::refusal;
using testing::TempDir;
using testing::write_file;

std::string refused(const std::string& path, uint64_t max_bytes = 100) {
  const std::string message = refusal(ErrorKind::kFile, [&] { read_whole_file(path, max_bytes); });
  CHECK_THAT(message, ContainsSubstring(path));
  return message;
}

TEST_CASE("a whole file is read byte for byte, up to its limit and not one past") {
  const TempDir dir;
  const std::string path = dir.path() / "f";
  const std::string bytes = std::string("\0\xff\r\n", 4) + "text";
  write_file(path, bytes);
  CHECK(read_whole_file(path, bytes.size()) == bytes);
  CHECK_THAT(refused(path, bytes.size() - 1), ContainsSubstring("at most 7 bytes, found 8 bytes"));
  write_file(path, "");
  CHECK(read_whole_file(path, 0).empty());
  const std::string large(300'000, 'x');  // several reads
  write_file(path, large);
  CHECK(read_whole_file(path, large.size()) == large);
}

TEST_CASE("a file that is larger than it says ends at the limit") {
  // Files below /proc report a size of 0 bytes.
  CHECK_THAT(read_whole_file("/proc/self/status", 1 << 20), ContainsSubstring("Name:"));
  CHECK_THAT(refused("/proc/self/status", 10), ContainsSubstring("at most 10 bytes, found more"));
}

TEST_CASE("a file that is too large is refused before it is read") {
  const TempDir dir;
  const std::string path = dir.path() / "sparse";
  write_file(path, "");
  REQUIRE(::truncate(path.c_str(), off_t{1} << 40) == 0);
  CHECK_THAT(refused(path, uint64_t{256} << 20), ContainsSubstring("at most 256 MiB"));
}

TEST_CASE("what is no regular file is refused without waiting for it") {
  const TempDir dir;
  const std::string fifo = dir.path() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THAT(refused(fifo), ContainsSubstring("expected a regular file, found a pipe"));
  CHECK_THAT(refused("/dev/zero"), ContainsSubstring("found a device"));
  CHECK_THAT(refused(dir.path()), ContainsSubstring("found a folder"));
}

TEST_CASE("a link is followed, and refused if it leads nowhere") {
  const TempDir dir;
  write_file(dir.path() / "target", "text");
  std::filesystem::create_symlink("target", dir.path() / "link");
  CHECK(read_whole_file(dir.path() / "link", 100) == "text");
  std::filesystem::create_symlink("loop", dir.path() / "loop");
  CHECK_THAT(refused(dir.path() / "loop"), ContainsSubstring("Too many levels of symbolic links"));
  std::filesystem::create_symlink("gone", dir.path() / "dangling");
  CHECK_THAT(refused(dir.path() / "dangling"), ContainsSubstring("a link to a file that is not there"));
  CHECK_THROWS_AS(read_whole_file_if_there(dir.path() / "dangling", 100), Error);
}

TEST_CASE("a missing file is refused, or absent for who asks whether it is there") {
  const TempDir dir;
  write_file(dir.path() / "file", "text");
  for (const std::string path : {dir.path() / "none", dir.path() / "file" / "below"}) {
    CHECK_THAT(refused(path), ContainsSubstring("there is no such file"));
    CHECK_FALSE(read_whole_file_if_there(path, 100).has_value());
  }
  CHECK(read_whole_file_if_there(dir.path() / "file", 100) == "text");
}

TEST_CASE("a name that no file can have is that of a missing file") {
  for (const std::string& path : {std::string(5000, 'x'), std::string(300, 'x'), std::string()})
    CHECK_THAT(refused(path), ContainsSubstring("there is no such file"));
}

TEST_CASE("a pipe is read to its end, and no further than the limit") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const FileDescriptor in(ends[0]);
  {
    const FileDescriptor out(ends[1]);
    REQUIRE(::write(out.get(), "text", 4) == 4);
  }
  CHECK(read_to_end(in.get(), "the pipe", 4) == "text");
  CHECK(read_to_end(in.get(), "the pipe", 4).empty());
  const FileDescriptor zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { read_to_end(zeros.get(), "zeros", 1 << 20); }),
             ContainsSubstring("zeros: expected at most 1 MiB, found more"));
}

TEST_CASE("the check may end the reading of what has no end") {
  const FileDescriptor zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  int calls = 0;
  const auto stop = [&] {
    if (++calls == 5) throw Error(ErrorKind::kCancelled, "enough");
  };
  CHECK(refusal(ErrorKind::kCancelled, [&] { read_to_end(zeros.get(), "zeros", UINT64_MAX, stop); }) ==
        "enough");
}

TEST_CASE("a read that fails is an error of the file") {
  const TempDir dir;
  const FileDescriptor folder(::open(dir.path().c_str(), O_RDONLY | O_CLOEXEC));
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { read_to_end(folder.get(), "f", 10); }),
             ContainsSubstring("f: reading failed: Is a directory"));
}

}  // namespace
}  // namespace seer
