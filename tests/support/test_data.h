// Finds test data: goldens and tokenizers outside the project, the demo model inside it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace seer::testing {

// Marks the running case as skipped, with a reason; the caller then returns.
void skip(const std::string& reason);
// Returns `name` in SEER_TEST_DATA, or in ../shared next to the project. Returns nothing, after skip(), if it
// is not there.
std::optional<std::filesystem::path> test_data(const std::string& name);
std::filesystem::path demo_model();  // examples/demo-model of this source tree

// A new empty folder. It is removed with its content at the end of the scope.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace seer::testing
