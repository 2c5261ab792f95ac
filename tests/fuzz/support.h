// What every fuzz target uses: how it is declared, what it may cost, and how it fails.
//
// A target gives a reader bytes that a stranger could have written. It must accept or refuse them; what it
// accepts must mean what the target checks. tools/fuzz.sh runs the targets for long, ctest for a moment.
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

// Numbers that a seed decides, for mutations.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t bound);  // 0 if bound is 0
  bool one_in(uint64_t n) { return below(n) == 0; }

 private:
  uint64_t state_;
};

struct Target {
  const char* name;  // also of its folder in seeds/, and of its dictionary if it has one
  // Ends the program by broken() if a check fails. Any other way out than returning is a finding too.
  void (*run)(const std::string& bytes);
  // Mutates an input; null: libFuzzer's own mutations do.
  std::string (*mutate)(const std::string& bytes, Random& random) = nullptr;
  size_t max_size = 4096;
  // Heap that a run may hold at one time, in bytes: for each byte of input, and besides.
  size_t heap_per_byte = 256;
  size_t heap_base = size_t{16} << 20;
};
// Processor time that a run may take, in seconds. The readers are instrumented, which makes them some ten
// times slower.
inline constexpr double kSecondsBase = 2.0, kSecondsPerByte = 1e-4;

// Makes a target known to the program: one object of static storage in each file of targets/.
struct Registration {
  explicit Registration(const Target& target);
};
const std::vector<Target>& targets();

// Reports a check that failed, and aborts.
[[noreturn]] void broken(const std::string& what);
inline void expect(bool ok, const std::string& what) {
  if (!ok) broken(what);
}

// Whether `read` accepts its input. A seer::Error or a serve::ApiError is a refusal, which must say something
// and be no longer than a page; any other exception is a finding. With SEER_FUZZ_EXPLAIN in the environment,
// refusals are printed.
bool accepts(const std::function<void()>& read);

// Whether the bytes are well-formed UTF-8, by the steps of tokenizer/utf8.h, which must be right ones.
bool is_utf8(std::string_view text);

// A folder of this process, which files are written to.
class Folder {
 public:
  // Replaces the file.
  std::string write(const std::string& name, const std::string& bytes) const;
  void remove(const std::string& name) const;
  std::string path() const { return dir_.path().string(); }

 private:
  testing::TempDir dir_;
};

// Inputs of several texts: they are joined by this byte, which none of the formats uses.
inline constexpr char kSeparator = '\x1E';
// Always `n` parts; those that are missing are empty, and the last one takes all the rest.
std::vector<std::string> split(const std::string& bytes, size_t n);
std::string join(const std::vector<std::string>& parts);

// libFuzzer's mutations, of which dictionary and comparisons seen are parts.
std::string mutate_bytes(const std::string& bytes, size_t max_size);
// A change to a value somewhere in a JSON text, which stays JSON; mutate_bytes() of what is none, and now and
// then.
std::string mutate_json(const std::string& text, Random& random, size_t max_size);
// For targets whose input is one JSON text.
template <size_t kMaxSize>
std::string mutate_one_json(const std::string& text, Random& random) {
  return mutate_json(text, random, kMaxSize);
}

}  // namespace seer::fuzz
