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

// Returns the last line of stderr, because lines before it may report success.
std::string fails_to_write(const std::vector<std::string>& arguments, const RunOptions& options) {
  const Outcome run = run_seer(arguments, options);
  INFO(run.err);
  CHECK(run.code == 1);
  CHECK(run.out.empty());
  const size_t end = run.err.find_last_not_of('\n'), line = run.err.rfind("seer: error: ");
  CHECK((line != std::string::npos && run.err.find('\n', line) > end));
  return line == std::string::npos ? "" : run.err.substr(line);
}

struct Writer {
  std::vector<std::string> arguments;
  std::string input = {};
};

// Returns every command, in every form in which it writes.
std::vector<Writer> writers(const std::string& text) {
  const std::string model = testing::demo_model_dir();
  std::vector<Writer> all = {
      {{"generate", "-m", model, "-p", "The ship", "-n", "40"}},
      {{"chat", "-m", model, "--chat-template", "none", "-n", "5"}, "The ship\n"},
      {{"serve", "-m", model, "--port", "0"}},
      {{"tokenize", "-m", model, "-p", "The ship"}},
      {{"render", "-m", model, "--chat-template", "llama2", "--messages", "-"},
       R"([{"role": "user", "content": "x"}])"},
      {{"inspect", "-m", model}},
      {{"inspect", "-m", model, "--output", "json"}},
      {{"completion", "bash"}},
      {{"man"}},
      {{"--help"}},
      {{"--version"}},
      {{"generate", "--help"}},
  };
  for (const char* format : {"md", "csv", "json", "jsonl"}) {
    all.push_back({{"bench", "-m", model, "-p", "64", "-n", "0", "-r", "1", "--output", format}});
    all.push_back({{"perplexity", "-m", model, "-p", text, "-q", "--window", "32", "--max-windows", "1",
                    "--output", format}});
    all.push_back(
        {{"tune", "-m", model, "-g", testing::demo_gates_dir(), "-p", text, "-q", "--window", "32",
          "--max-windows", "1", "--look-ups", "0", "--sparse", "threshold=0.02", "--output", format}});
  }
  return all;
}

TEST_CASE(
    "a full disk, a closed stdout and a reader that left are reported with exit code 1, by every command") {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The ship went down. ";
  for (const Writer& writer : writers(text)) {
    INFO(writer.arguments[0] << " " << writer.arguments.back());
    RunOptions full, closed, dropped;
    full.stdout_path = "/dev/full";
    closed.close_stdout = true;
    dropped.drop_reader = true;
    for (RunOptions* options : {&full, &closed, &dropped}) options->input = writer.input;
    CHECK_THAT(fails_to_write(writer.arguments, full), ContainsSubstring("No space left on device"));
    CHECK_THAT(fails_to_write(writer.arguments, closed), ContainsSubstring("standard output"));
    CHECK_THAT(fails_to_write(writer.arguments, dropped), ContainsSubstring("Broken pipe"));
  }
}

TEST_CASE("a dump that cannot be written leaves no file") {
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

TEST_CASE("a picture or a saved conversation that fails keeps the file that was there before, and no part") {
  const testing::TempDir dir;
  RunOptions limited;
  limited.file_size_limit = 64;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "The ship went down. ";
  testing::write_file(dir.path() / "overview.png", "precious");
  CHECK_THAT(
      fails_to_write({"inspect", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "-p", text,
                      "--maps", dir.path().string()},
                     limited),
      ContainsSubstring("overview.png: File too large; the file that was there before is left as it was"));
  CHECK(testing::read_file(dir.path() / "overview.png") == "precious");
  testing::write_file(dir.path() / "chat.json", "precious");
  limited.input = text + "\n/save " + (dir.path() / "chat.json").string() + "\n";
  const Outcome chat =
      run_seer({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "-n", "5"}, limited);
  CHECK(chat.code == 1);
  CHECK_THAT(chat.err, ContainsSubstring("chat.json: File too large"));
  CHECK(testing::read_file(dir.path() / "chat.json") == "precious");
  CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 2);
}

// The sanitizers map far more memory than a limited address space has.
#if !SEER_SANITIZED
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

// OpenBLAS' threads, and the threads that call it, want 128 MiB each, and ask for it for ever.
TEST_CASE("whatever address space there is, the program ends, by its answer or with exit code 4") {
  const testing::TempDir dir;
  const std::string text =
      testing::read_file(testing::demo_model().parent_path() / "long-document/document.txt");
  testing::write_file(dir.path() / "text", text.substr(0, 6000));
  int n_answers = 0, n_refusals = 0;
  RunOptions limited;
  // A lack of memory in the system's loader, which loads CUDA's libraries, is not ours to report. Neither is
  // one in OpenBLAS: some versions (0.3.29 of Debian 13) wait for memory for ever while they are loaded,
  // before any code of ours runs.
  size_t least = 100;
  limited.may_hang = true;
  for (limited.memory_limit = least << 20; run_seer({"--version"}, limited).code != 0 && least < 16'000;
       limited.memory_limit = least << 20)
    least += 100;
  limited.may_hang = false;
  for (size_t mib = least; mib <= least + 900; mib += mib < least + 400 ? 50 : 100) {
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
