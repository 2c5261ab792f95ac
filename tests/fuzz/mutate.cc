#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <cctype>

#include "seer/error.h"
#include "tests/models/safetensors_builder.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {

Mutator::Mutator(uint64_t seed, std::vector<std::string> samples)
    : state_(seed), samples_(std::move(samples)) {}

uint64_t Mutator::random(uint64_t bound) {
  state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX; its high bits are good
  return bound == 0 ? 0 : (state_ >> 33) % bound;
}

std::string Mutator::next() {
  std::string bytes = samples_[random(samples_.size())];
  for (uint64_t n = 1 + random(4); n > 0; --n) change(&bytes);
  return bytes;
}

void Mutator::change(std::string* bytes) {
  const size_t at = random(bytes->size()), size = std::min<size_t>(bytes->size() - at, 1 + random(24));
  switch (random(9)) {
    case 0:
    case 1:
      if (!bytes->empty()) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random(8)));
      return;
    case 2:
      if (!bytes->empty()) (*bytes)[at] = static_cast<char>(random(256));
      return;
    case 3:
      bytes->resize(at);
      return;
    case 4:
      bytes->erase(at, size);
      return;
    case 5: {
      const std::string copy = bytes->substr(at, size);
      bytes->insert(random(bytes->size() + 1), copy);
      return;
    }
    case 6: {
      const std::string& other = samples_[random(samples_.size())];
      bytes->replace(at, size, other.substr(random(other.size()), 1 + random(200)));
      return;
    }
    case 7:
      return replace_digits(bytes);
    default:
      return replace_bytes(bytes);
  }
}

// The number at or behind a random place.
void Mutator::replace_digits(std::string* bytes) {
  static const char* const kExtremes[] = {"0",          "-1",         "1",
                                          "255",        "65536",      "2147483647",
                                          "2147483648", "4294967296", "9223372036854775807",
                                          "1e999",      "0.5",        "18446744073709551615",
                                          "-0.0",       "1e-320",     "99999999999999999999",
                                          "null",       "[]",         "-9223372036854775808"};
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const auto from = bytes->begin() + static_cast<std::ptrdiff_t>(random(bytes->size()));
  const auto begin = std::find_if(from, bytes->end(), is_digit);
  const auto end = std::find_if_not(begin, bytes->end(), is_digit);
  bytes->replace(begin, end, kExtremes[random(std::size(kExtremes))]);
}

void Mutator::replace_bytes(std::string* bytes) {
  static constexpr uint64_t kExtremes[] = {0,
                                           1,
                                           0x7F,
                                           0x80,
                                           0xFF,
                                           0xFFFF,
                                           0x7FFFFFFF,
                                           0x80000000,
                                           0xFFFFFFFE,
                                           0xFFFFFFFF,
                                           100'000'000,
                                           100'000'001,
                                           uint64_t{1} << 62,
                                           uint64_t{1} << 63,
                                           UINT64_MAX};
  static constexpr int kSizes[] = {1, 2, 4, 8};
  const std::string value = little_endian(kExtremes[random(std::size(kExtremes))], kSizes[random(4)]);
  // Lengths and offsets stand at a file's ends more often than in its middle.
  const size_t n = bytes->size(), near = std::min<size_t>(n, 64);
  const size_t at = random(3) == 0 ? random(near) : random(2) == 0 ? n - random(near + 1) : random(n);
  bytes->replace(at, std::min(value.size(), n - at), value);
}

void replace_file(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);
  write_file(path, bytes);
}

FuzzResult fuzz(Mutator mutator, int n, const std::function<void(const std::string& bytes)>& load) {
  FuzzResult result;
  for (int i = 0; i < n; ++i) {
    const std::string bytes = mutator.next();
    try {
      load(bytes);
      ++result.n_loaded;
    } catch (const Error& e) {
      if (std::string(e.what()).empty()) FAIL_CHECK("mutant " << i << ": an error without a message");
      ++result.n_refused;
    } catch (const std::exception& e) {
      FAIL_CHECK("mutant " << i << ": not a seer::Error: " << e.what());
    }
  }
  return result;
}

}  // namespace seer::testing
