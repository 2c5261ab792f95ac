// Output that cannot be written is an error, never a silent loss and never a crash.
#include "tests/support/catch.h"
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
#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("memory that the system refuses ends with exit code 4 and the number of bytes") {
  RunOptions limited;
  limited.memory_limit = size_t{1} << 30;
  const Outcome run = run_seer({"generate", "-m", testing::demo_model_dir(), "-p", "The ship", "-c",
                                "16384000", "-q", "--threads", "1"},
                               limited);
  CHECK(run.code == 4);
  CHECK(run.out.empty());
  CHECK_THAT(run.err, ContainsSubstring("seer: error: "));
  CHECK_THAT(run.err, ContainsSubstring("MiB for the KV cache"));
  CHECK_THAT(run.err, ContainsSubstring("--ctx-size"));
}

// OpenBLAS' threads, and the threads that call it, want 128 MiB each and ask for it for ever.
TEST_CASE("whatever address space there is, the program ends, by its answer or with exit code 4") {
  const testing::TempDir dir;
  const std::string text =
      testing::read_file(testing::demo_model().parent_path() / "long-document/document.txt");
  testing::write_file(dir.path() / "text", text.substr(0, 6000));
  int n_answers = 0, n_refusals = 0;
  for (size_t mib = 100; mib <= 1000; mib += mib < 500 ? 50 : 100) {
    RunOptions limited;
    limited.memory_limit = mib << 20;
    const Outcome run =
        run_seer({"generate", "-m", testing::demo_model_dir(), "-f", (dir.path() / "text").string(), "-n",
                  "2", "-c", "2048", "-q", "--threads", "2"},
                 limited);
    INFO(mib << " MiB: " << run.err);
    CHECK((run.code == 0 || run.code == 4 ||
           (run.code == 3 && run.err.find("cannot be mapped") != std::string::npos)));
    run.code == 0 ? ++n_answers : ++n_refusals;
    CHECK(run_seer({"--version"}, limited).code == 0);
  }
  CHECK(n_answers > 0);
  CHECK(n_refusals > 0);
}
#endif

}  // namespace
}  // namespace seer
