// The common part of all fuzz targets: how a target is declared, how much it may consume, and how it fails.
//
// A target gives a reader bytes that a stranger could have written. The reader must accept or refuse them,
// and the target checks the meaning of accepted ones. tools/fuzz.sh runs the targets for a long time, ctest
// for a moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/test_data.h"

namespace seer::fuzz {

// Random numbers for mutations, determined by a seed.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t bound);  // 0 if bound is 0
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

struct Target {
  const char* name;  // also the name of its folder in seeds/, and of its dictionary if it has one
  // Ends the program by broken() if a check fails. Leaving it in any other way than by returning is a finding
  // too.
  void (*run)(const std::string& bytes);
  // Mutates an input. If null, libFuzzer's own mutations are used.
  std::string (*mutate)(const std::string& bytes, Random& random) = nullptr;
  size_t max_size = 4096;
  // The heap in bytes that a run may hold at one time: so much for each byte of input, and a base.
  size_t heap_per_byte = 256;
  size_t heap_base = size_t{16} << 20;
};
// The processor time in seconds that a run may take. Instrumentation makes the readers some ten times slower.
inline constexpr double kSecondsBase = 2.0, kSecondsPerByte = 1e-4;

// Adds a target to targets(). Each file of targets/ has one such object of static storage.
struct Registration {
  explicit Registration(const Target& target);
};
const std::vector<Target>& targets();

// Reports a failed check, and aborts.
[[noreturn]] void broken(const std::string& what);
inline void expect(bool ok, const std::string& what) {
  if (!ok) broken(what);
}

// Returns whether `read` accepts its input. A seer::Error or a serve::ApiError is a refusal, whose message
// must not be empty or longer than a page; any other exception is a finding. With SEER_FUZZ_EXPLAIN in the
// environment, refusals are printed.
bool accepts(const std::function<void()>& read);

// Returns whether the bytes are well-formed UTF-8, by the steps of tokenizer/utf8.h. Checks these steps as
// well.
bool is_utf8(std::string_view text);

// A folder for the files of this process.
class Folder {
 public:
  // Writes a file, replacing an earlier one, and returns its path.
  std::string write(const std::string& name, const std::string& bytes) const;
  void remove(const std::string& name) const;
  std::string path() const { return dir_.path().string(); }

 private:
  testing::TempDir dir_;
};

// Separates the texts of an input that consists of several. None of the formats uses this byte.
inline constexpr char kSeparator = '\x1E';
// Always returns `n` parts. Missing parts are empty, and the last one takes all the rest.
std::vector<std::string> split(const std::string& bytes, size_t n);
std::string join(const std::vector<std::string>& parts);

// Applies libFuzzer's mutations, which use the dictionary and the comparisons seen.
std::string mutate_bytes(const std::string& bytes, size_t max_size);
// Changes a value somewhere in a JSON text, which stays JSON. Calls mutate_bytes() for other texts, and now
// and then for JSON.
std::string mutate_json(const std::string& text, Random& random, size_t max_size);
// Mutates the input of a target that is one JSON text.
template <size_t kMaxSize>
std::string mutate_one_json(const std::string& text, Random& random) {
  return mutate_json(text, random, kMaxSize);
}

}  // namespace seer::fuzz
