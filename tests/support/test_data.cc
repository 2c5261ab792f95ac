#include "tests/support/test_data.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace seer::testing {
namespace fs = std::filesystem;

std::optional<fs::path> test_data(const std::string& name) {
  const char* root = std::getenv("SEER_TEST_DATA");
  const fs::path path = fs::path(root != nullptr ? root : SEER_DEFAULT_TEST_DATA) / name;
  if (fs::exists(path)) return path;
  skip("no test data at " + path.string() + " (set SEER_TEST_DATA)");
  return std::nullopt;
}

fs::path demo_model() { return SEER_DEMO_MODEL; }

TempDir::TempDir() {
  std::string name = (fs::temp_directory_path() / "seer-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed for " + name);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace seer::testing
