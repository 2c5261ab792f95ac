#include "tests/fuzz/support.h"

#include <cstdio>
#include <cstdlib>

#include "seer/error.h"
#include "tokenizer/utf8.h"
#include "tools/seer/serve/api_error.h"

namespace seer::fuzz {
namespace {

constexpr size_t kLongestMessage = 8192;

std::vector<Target>& registered() {
  static std::vector<Target> all;
  return all;
}

void check_message(std::string_view message) {
  static const bool explain = std::getenv("SEER_FUZZ_EXPLAIN") != nullptr;
  if (explain) std::fprintf(stderr, "refused: %.*s\n", static_cast<int>(message.size()), message.data());
  expect(!message.empty(), "a refusal without a message");
  expect(message.size() <= kLongestMessage,
         "a refusal of " + std::to_string(message.size()) + " bytes: " + std::string(message.substr(0, 200)));
}

}  // namespace

uint64_t Random::below(uint64_t bound) {
  state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX; its high bits are good
  return bound == 0 ? 0 : (state_ >> 33) % bound;
}

Registration::Registration(const Target& target) { registered().push_back(target); }

const std::vector<Target>& targets() { return registered(); }

void broken(const std::string& what) {
  std::fprintf(stderr, "\n== broken: %s\n", what.c_str());
  std::abort();
}

bool accepts(const std::function<void()>& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    check_message(error.what());
  } catch (const serve::ApiError& error) {
    check_message(error.what());
  } catch (const std::exception& error) {
    broken(std::string("an exception that is no seer::Error: ") + error.what());
  }
  return false;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    expect(step.size >= 1 && step.size <= text.size(), "a step out of the text");
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    const int32_t point = utf8_point(text.substr(0, step.size));
    expect(point >= 0 && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF),
           "a point that is no character");
    text.remove_prefix(step.size);
  }
  return true;
}

std::string Folder::write(const std::string& name, const std::string& bytes) const {
  const std::filesystem::path path = dir_.path() / name;
  // A new file is made each time, because some file systems (ext4) wait for the disk when the old one is
  // overwritten.
  std::filesystem::remove(path);
  testing::write_file(path, bytes);
  return path.string();
}

void Folder::remove(const std::string& name) const { std::filesystem::remove(dir_.path() / name); }

std::vector<std::string> split(const std::string& bytes, size_t n) {
  std::vector<std::string> parts(n);
  size_t from = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t end = i + 1 == n ? std::string::npos : bytes.find(kSeparator, from);
    parts[i] = bytes.substr(from, end == std::string::npos ? end : end - from);
    if (end == std::string::npos) break;
    from = end + 1;
  }
  return parts;
}

std::string join(const std::vector<std::string>& parts) {
  std::string bytes;
  for (size_t i = 0; i < parts.size(); ++i) bytes += (i == 0 ? "" : std::string(1, kSeparator)) + parts[i];
  return bytes;
}

}  // namespace seer::fuzz

// test_data() needs it, but no target calls that.
void seer::testing::skip(const std::string& reason) { fuzz::broken("a target that skips: " + reason); }
