// Output that cannot be written is an error, never a silent loss and never a crash.
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;
namespace fs = std::filesystem;

const std::vector<std::vector<std::string>> kWriters = {
    {"generate", "-m", testing::demo_model_dir(), "-p", "The ship", "-n", "40"},
    {"tokenize", "-m", testing::demo_model_dir(), "-p", "The ship"},
    {"inspect", "-m", testing::demo_model_dir()},
    {"bench", "-m", testing::demo_model_dir(), "-p", "64", "-n", "0", "-r", "1"},
    {"generate", "--help"},
};

TEST_CASE("a full disk, a closed stdout and a reader that left are reported with exit code 1") {
  for (const auto& arguments : kWriters) {
    INFO(arguments[0]);
    RunOptions full, closed, dropped;
    full.stdout_path = "/dev/full";
    closed.close_stdout = true;
    dropped.drop_reader = true;
    CHECK_THAT(check_fails(arguments, 1, full), ContainsSubstring("No space left on device"));
    CHECK_THAT(check_fails(arguments, 1, closed), ContainsSubstring("standard output"));
    CHECK_THAT(check_fails(arguments, 1, dropped), ContainsSubstring("Broken pipe"));
  }
}

TEST_CASE("a dump that cannot be written leaves nothing behind") {
  const testing::TempDir dir;
  const auto dump = [&](const fs::path& path, const RunOptions& options = {}) {
    return check_fails({"inspect", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "-p",
                        "The ship", "--dump", path.string()},
                       1, options);
  };
  CHECK_THAT(dump(dir.path() / "missing" / "d.safetensors"), ContainsSubstring("No such file or directory"));
  CHECK_THAT(dump("/dev/full"), ContainsSubstring("No space left on device"));
  RunOptions limited;
  limited.file_size_limit = 4096;
  CHECK_THAT(dump(dir.path() / "d.safetensors", limited), ContainsSubstring("d.safetensors"));
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("a dump that fails keeps the file that was there before") {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "d.safetensors", "precious");
  RunOptions limited;
  limited.file_size_limit = 4096;
  check_fails({"inspect", "-m", testing::demo_model_dir(), "-p", "The ship", "--dump",
               (dir.path() / "d.safetensors").string()},
              1, limited);
  CHECK(testing::read_file(dir.path() / "d.safetensors") == "precious");
}

// The sanitizers map far more than a limited address space has.
#if !SEER_SANITIZED
TEST_CASE("memory that the system refuses ends with exit code 4 and the number of bytes") {
  RunOptions limited;
  limited.memory_limit = size_t{1} << 30;
  const Outcome run = run_seer(
      {"generate", "-m", testing::demo_model_dir(), "-p", "The ship", "-c", "16384000", "-q"}, limited);
  CHECK(run.code == 4);
  CHECK(run.out.empty());
  CHECK_THAT(run.err, ContainsSubstring("seer: error: "));
  CHECK_THAT(run.err, ContainsSubstring("MiB for the KV cache"));
  CHECK_THAT(run.err, ContainsSubstring("--ctx-size"));
}
#endif

}  // namespace
}  // namespace seer
