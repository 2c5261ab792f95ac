// Damages files the same way on every run: what a reader of untrusted files must survive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace seer::testing {

class Mutator {
 public:
  // `samples` are valid files, of which pieces are spliced into others.
  Mutator(uint64_t seed, std::vector<std::string> samples);

  // A sample with one to four changes: bits flipped, bytes removed, repeated, swapped with those of another
  // sample or cut off at the end, and numbers, written in digits or little-endian bytes, replaced by
  // extremes.
  std::string next();

 private:
  uint64_t random(uint64_t bound);  // below bound; 0 where that is 0
  void change(std::string* bytes);
  void replace_digits(std::string* bytes);
  void replace_bytes(std::string* bytes);

  uint64_t state_;
  std::vector<std::string> samples_;
};

struct FuzzResult {
  int n_loaded = 0;
  int n_refused = 0;
};

// Writes a new file. Overwriting the old one, some file systems (ext4) wait for the disk each time.
void replace_file(const std::filesystem::path& path, const std::string& bytes);

// Gives `load` n mutants. A seer::Error is an answer; anything else fails the test, and the mutant's number
// tells which it was.
FuzzResult fuzz(Mutator mutator, int n, const std::function<void(const std::string& bytes)>& load);

}  // namespace seer::testing
