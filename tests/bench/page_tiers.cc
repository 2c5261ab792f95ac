// Measures the tiers of pages: how fast records are stored and loaded.
//   bench_page_tiers DIR [MEGABYTES]
// DIR is a folder that is not there yet, on the disk to measure; it is removed at the end. MEGABYTES is how
// much is stored for each size of records (2000).
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/src/tiers/disk_pages.h"
#include "seer/error.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

PageName name_of(int64_t i) { return page_name({}, std::vector<int32_t>{static_cast<int32_t>(i)}); }

// Takes the files out of the system's memory, so that the disk is measured.
void forget(const std::string& dir) {
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file()) continue;
    const FileDescriptor fd(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    ::fdatasync(fd.get());
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

void check(bool good, const char* what) {
  if (!good) throw Error(ErrorKind::kRuntime, std::string(what) + " failed");
}

struct Row {
  int64_t record_bytes, n;
  void print(const char* what, double seconds) const {
    std::printf("%9ld bytes  %-34s %8.0f MB/s  %9.3f ms a page\n", static_cast<long>(record_bytes), what,
                1e-6 * static_cast<double>(record_bytes * n) / seconds,
                1e3 * seconds / static_cast<double>(n));
    std::fflush(stdout);
  }
};

void load_all(DiskPages* disk, const Row& row, int n_threads) {
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<size_t>(n_threads));
  std::vector<int> good(static_cast<size_t>(n_threads), 1);
  for (int t = 0; t < n_threads; ++t)
    threads.emplace_back([&, t] {
      const PageFileBuffer memory(row.record_bytes);
      for (int64_t i = t; i < row.n; i += n_threads)
        if (!disk->load(name_of(i), memory.record())) good[static_cast<size_t>(t)] = 0;
    });
  threads.clear();
  for (const int one : good) check(one == 1, "load");
}

void measure(const std::string& dir, int64_t record_bytes, int64_t n) {
  const Row row{record_bytes, n};
  const auto log = [](LogLevel, const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  const auto open = [&](bool direct, int64_t room) {
    return std::make_unique<DiskPages>(
        DiskPagesOptions{
            .dir = dir, .max_bytes = room * page_file_bytes(record_bytes), .direct_reads = direct},
        PageFingerprint{}, record_bytes, log);
  };
  auto disk = open(true, n);
  const PageFileBuffer memory(record_bytes);
  const std::span<std::byte> record = memory.record();
  for (size_t i = 0; i + 8 <= record.size(); i += 8) {
    const uint64_t x = i * 0x9E3779B97F4A7C15U;
    std::memcpy(record.data() + i, &x, sizeof x);
  }
  row.print("store", seconds_of([&] {
              for (int64_t i = 0; i < n; ++i) check(disk->store(name_of(i), record, 1.0), "store");
            }));
  row.print("store again, and remove as much", seconds_of([&] {
              for (int64_t i = n; i < 2 * n; ++i) check(disk->store(name_of(i), record, 1.0), "store");
            }));
  for (int64_t i = 0; i < n; ++i) check(disk->store(name_of(i), record, 1.0), "store");
  for (const int n_threads : {1, 2, 4}) {
    const std::string what = "load directly, threads " + std::to_string(n_threads);
    forget(dir);
    row.print(what.c_str(), seconds_of([&] { load_all(disk.get(), row, n_threads); }));
  }
  disk = open(false, n);
  forget(dir);
  row.print("load through memory, from the disk", seconds_of([&] { load_all(disk.get(), row, 1); }));
  row.print("load through memory, again", seconds_of([&] { load_all(disk.get(), row, 1); }));
  std::vector<PageName> chain;
  for (int64_t i = 0; i < n; ++i) chain.push_back(name_of(i));
  row.print("has", seconds_of([&] {
              for (const PageName& name : chain) check(disk->has(name), "has");
            }));
  row.print("used, written down", seconds_of([&] { disk->used(chain); }));
  row.print("used, just after", seconds_of([&] { disk->used(chain); }));
  disk.reset();
  row.print("open", seconds_of([&] { disk = open(false, n); }));
  disk.reset();
  fs::remove_all(dir);
}

int run(int argc, char** argv) {
  if (argc < 2 || fs::exists(argv[1])) {
    std::fprintf(stderr, "bench_page_tiers DIR [MEGABYTES]: DIR must not be there yet\n");
    return 2;
  }
  const int64_t bytes = 1'000'000 * (argc > 2 ? std::atoll(argv[2]) : 2000);
  for (const int64_t record_bytes : {int64_t{400'000}, int64_t{8'400'000}})
    measure(argv[1], record_bytes, std::max<int64_t>(bytes / record_bytes, 1));
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) {
  try {
    return seer::run(argc, argv);
  } catch (const seer::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
