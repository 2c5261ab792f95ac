// Ctrl-C, and the texts that a terminal shows.
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

std::string long_prompt(int n_years = 900) {
  std::string prompt;
  for (int i = 0; i < n_years; ++i)
    prompt += "In the year " + std::to_string(i) + " the sea was calm and the sky grey. ";
  return prompt;
}

TEST_CASE("Ctrl-C while decoding keeps the text so far and exits with 130") {
  RunOptions options;
  options.interrupt_at = "seven";
  const std::vector<std::string> arguments = {
      "generate", "-m", testing::demo_model_dir(), "-p", "five six seven", "--echo", "--ignore-eos",
      "--temp",   "0"};
  const Outcome run = run_seer(arguments, options);
  CHECK(run.code == 130);
  CHECK(run.out.starts_with("five six seven"));
  CHECK(run.out.size() > std::string("five six seven").size());
  CHECK_THAT(run.err, ContainsSubstring("interrupted"));
}

TEST_CASE("Ctrl-C while prefilling stops within a chunk and exits with 130") {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "long.txt", long_prompt());
  RunOptions options;
  options.terminal = true;
  options.interrupt_at = "prefill ";
  const Outcome run = run_seer({"generate", "-m", testing::demo_model_dir(), "-f",
                                (dir.path() / "long.txt").string(), "--chunk-size", "64"},
                               options);
  CHECK(run.code == 130);
  CHECK(run.out.empty());
  CHECK_THAT(run.err, ContainsSubstring("interrupted"));
}

TEST_CASE("Ctrl-C while waiting for standard input exits with 130") {
  RunOptions options;
  options.input = std::string(1 << 22, 'x');  // more than a pipe holds, so it is still being written
  options.interrupt_after = std::chrono::milliseconds(1);
  const Outcome run = run_seer({"tokenize", "-m", testing::demo_model_dir()}, options);
  // The signal may come before the handler is installed.
  CHECK((run.code == 130 || run.signal == 2));
}

TEST_CASE("Ctrl-C in a bench prints the rows that were done and exits with 130") {
  RunOptions options;
  options.interrupt_at = "\"n_prompt\":64";
  const Outcome run = run_seer({"bench", "-m", testing::demo_model_dir(), "-p", "64,16000", "-n", "0", "-r",
                                "1", "--no-warmup", "--output", "jsonl"},
                               options);
  CHECK(run.code == 130);
  CHECK_THAT(run.out, ContainsSubstring("\"n_prompt\":64"));
  CHECK(run.out.find("\"n_prompt\":16000") == std::string::npos);
}

TEST_CASE("a terminal is shown progress of load and prefill, a pipe is not") {
  const testing::TempDir dir;
  const auto arguments = [&](int n_years) {
    const std::string path = (dir.path() / std::to_string(n_years)).string();
    testing::write_file(path, long_prompt(n_years));
    return std::vector<std::string>{"generate",     "-m", testing::demo_model_dir(), "-f", path, "-n", "1",
                                    "--chunk-size", "256"};
  };
  RunOptions options;
  options.terminal = true;
  options.interrupt_at = " tokens/s, ";  // later text would show nothing more
  const Outcome shown = run_seer(arguments(900), options);
  CHECK(shown.code == 130);
  CHECK_THAT(shown.err, ContainsSubstring("loading "));
  CHECK_THAT(shown.err, ContainsSubstring("\rprefill "));
  CHECK_THAT(shown.err, ContainsSubstring(" tokens/s, "));
  // Runs to the end of a prompt, which takes longer than the pause between two changes of the line.
  options.interrupt_at.reset();
  const Outcome ended = run_seer(arguments(200), options);
  CHECK(ended.code == 0);
  CHECK_THAT(ended.err, ContainsSubstring("loading "));
  const Outcome piped = run_seer(arguments(200));
  CHECK(piped.code == 0);
  CHECK(piped.err.find('\r') == std::string::npos);
  CHECK(piped.err.find("prefill ") == std::string::npos);
}

}  // namespace
}  // namespace seer
