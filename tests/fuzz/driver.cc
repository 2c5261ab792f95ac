// The entry points of libFuzzer. SEER_FUZZ_TARGET names the target. Without arguments that name folders, the
// target's seeds are read and nothing is written. It measures the cost of each run.
#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/fuzz/support.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace seer::fuzz {
namespace {

namespace fs = std::filesystem;

const Target* chosen = nullptr;
std::atomic<int64_t> live{0}, most{0};
std::atomic<bool> counting{false};

void count_malloc(const volatile void* /*at*/, size_t size) {
  if (!counting) return;
  const int64_t now = live += static_cast<int64_t>(size);
  if (now > most) most = now;
}
void count_free(const volatile void* at) {
  if (counting && at != nullptr)
    live -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(at)));
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void run_measured(const std::string& bytes) {
  live = most = 0;
  counting = true;
  const double start = cpu_seconds();
  chosen->run(bytes);
  const double seconds = cpu_seconds() - start;
  counting = false;
  const auto n = bytes.size();
  const size_t heap = static_cast<size_t>(most), allowed = chosen->heap_base + chosen->heap_per_byte * n;
  expect(heap <= allowed, "an input of " + std::to_string(n) + " bytes took " + std::to_string(heap) +
                              " bytes of heap, expected " + std::to_string(allowed) + " at most");
  expect(seconds <= kSecondsBase + kSecondsPerByte * static_cast<double>(n),
         "an input of " + std::to_string(n) + " bytes took " + std::to_string(seconds) + " s");
}

const Target& choose() {
  const char* name = std::getenv("SEER_FUZZ_TARGET");
  for (const Target& target : targets())
    if (name != nullptr && std::strcmp(name, target.name) == 0) return target;
  std::fprintf(stderr, "SEER_FUZZ_TARGET must name one of these targets, found '%s':\n",
               name == nullptr ? "" : name);
  std::vector<std::string> names;
  for (const Target& target : targets()) names.emplace_back(target.name);
  std::sort(names.begin(), names.end());
  for (const std::string& each : names) std::printf("%s\n", each.c_str());
  std::exit(2);
}

std::string seed_list() {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(fs::path(SEER_FUZZ_FOLDER) / "seeds" / chosen->name))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  std::string list;
  for (const std::string& file : files) list += (list.empty() ? "" : ",") + file;
  return list;
}

// Puts the target's own settings first, so that those of the command line take precedence.
void add_settings(int* argc, char*** argv) {
  static std::vector<std::string> all;
  static std::vector<char*> pointers;
  all = {(*argv)[0], "-max_len=" + std::to_string(chosen->max_size), "-timeout=20", "-rss_limit_mb=2048",
         "-malloc_limit_mb=256"};
  const fs::path dictionary =
      fs::path(SEER_FUZZ_FOLDER) / "dictionaries" / (std::string(chosen->name) + ".dict");
  if (fs::exists(dictionary)) all.push_back("-dict=" + dictionary.string());
  const bool has_inputs =
      std::any_of(*argv + 1, *argv + *argc, [](const char* each) { return each[0] != '-'; });
  if (!has_inputs) all.push_back("-seed_inputs=" + seed_list());
  all.insert(all.end(), *argv + 1, *argv + *argc);
  for (std::string& each : all) pointers.push_back(each.data());
  *argc = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  *argv = pointers.data();
}

}  // namespace

std::string mutate_bytes(const std::string& bytes, size_t max_size) {
  std::string out = bytes;
  out.resize(std::max(max_size, bytes.size()));
  out.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(out.data()), bytes.size(), out.size()));
  return out;
}

}  // namespace seer::fuzz

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using namespace seer::fuzz;
  chosen = &choose();
  __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free);
  add_settings(argc, argv);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  seer::fuzz::run_measured(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  using namespace seer::fuzz;
  if (chosen->mutate == nullptr) return LLVMFuzzerMutate(data, size, max_size);
  Random random(seed);
  std::string out = chosen->mutate(std::string(reinterpret_cast<const char*>(data), size), random);
  if (out.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, out.data(), out.size());
  return out.size();
}
