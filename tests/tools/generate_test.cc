// seer generate with the demo model, run as a user runs it.
#include <sstream>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

// Returns the arguments of a greedy run, which gives the same text every time.
std::vector<std::string> generate(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"generate", "-m", testing::demo_model_dir(), "--temp", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string completion(std::vector<std::string> more, const RunOptions& options = {}) {
  const Outcome run = run_seer(generate(std::move(more)), options);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return run.out;
}

TEST_CASE("generate prints the completion alone and how fast it went on stderr") {
  const Outcome run = run_seer(generate({"-p", "The captain of the ship", "-n", "12"}));
  REQUIRE(run.code == 0);
  CHECK(!run.out.empty());
  CHECK(run.out.find("The captain") == std::string::npos);
  CHECK_THAT(run.err, ContainsSubstring("seer: prompt 6 tokens in "));
  CHECK_THAT(run.err, ContainsSubstring("decode 11 tokens in "));
  CHECK_THAT(run.err, ContainsSubstring("tokens/s), first token after "));
  CHECK_THAT(run.err, ContainsSubstring("density 100.0% (dense), stopped at -n\n"));
}

TEST_CASE("generate rounds inputs to bf16 if it is told to, or says what the processor lacks") {
  std::string prompt;
  for (int i = 0; i < 20; ++i) prompt += "The captain of the ship ";
  const Outcome plain = run_seer(generate({"-p", prompt, "-n", "1", "-v"}));
  const Outcome run = run_seer(generate({"-p", prompt, "-n", "5", "--activations", "bf16", "-v"}));
  INFO(plain.err << run.err);
  if (plain.err.find(", AVX512-BF16, ") != std::string::npos) {
    CHECK(run.code == 0);
    CHECK(!run.out.empty());
    CHECK_THAT(run.err, ContainsSubstring(", bf16 inputs)"));
  } else {
    CHECK(run.code == 3);
    CHECK_THAT(run.err, ContainsSubstring("Use --activations f32"));
  }
}

TEST_CASE("a prompt from -p, a file and standard input is the same prompt, byte for byte") {
  const testing::TempDir dir;
  const std::string prompt = "It was a dark night.\n\nThe \xC3\xA9toile \xF0\x9F\x8C\x9F rose";
  testing::write_file(dir.path() / "prompt.txt", prompt);
  const std::string expected = completion({"-p", prompt, "-n", "8"});
  RunOptions piped;
  piped.input = prompt;
  CHECK(completion({"-f", (dir.path() / "prompt.txt").string(), "-n", "8"}) == expected);
  CHECK(completion({"-n", "8"}, piped) == expected);
  CHECK(completion({"-f", "-", "-n", "8"}, piped) == expected);
  CHECK(completion({"-p", prompt, "-n", "8", "--echo"}) == prompt + expected);
}

TEST_CASE("token ids in and out are those of the text") {
  const std::string prompt = "What is the secret number of the garden?";
  const Outcome ids = run_seer({"tokenize", "-m", testing::demo_model_dir(), "-p", prompt});
  REQUIRE(ids.code == 0);
  RunOptions piped;
  piped.input = ids.out;
  const std::string text = completion({"-p", prompt, "-n", "6"});
  CHECK(completion({"--tokens-file", "-", "-n", "6"}, piped) == text);

  const std::string chosen = completion({"-p", prompt, "-n", "6", "--ids"});
  std::istringstream numbers(chosen);
  int32_t id = 0;
  int n = 0;
  while (numbers >> id) ++n;
  CHECK(n == 6);
  CHECK(chosen.back() == '\n');
}

TEST_CASE("with -n 0 generate computes the prompt and prints nothing") {
  CHECK(completion({"-p", "One day", "-n", "0"}).empty());
}

TEST_CASE("a stop string ends the text before it and does not appear") {
  const std::string text = completion({"-p", "The ship", "-n", "30"});
  REQUIRE(text.size() > 12);
  const std::string stop = text.substr(8, 3);
  CHECK(completion({"-p", "The ship", "-n", "30", "-r", stop}) == text.substr(0, text.find(stop)));
  const Outcome run = run_seer(generate({"-p", "The ship", "-n", "30", "-r", "never said", "--stop", stop}));
  CHECK(run.out == text.substr(0, text.find(stop)));
  CHECK_THAT(run.err, ContainsSubstring("stopped at '"));
}

TEST_CASE("equal seeds give equal text, other seeds other text") {
  const auto sample = [](const std::string& seed) {
    return completion({"-p", "The ship", "-n", "24", "--temp", "1.5", "-s", seed});
  };
  const std::string text = sample("7");
  CHECK(sample("7") == text);
  CHECK(sample("8") != text);
}

TEST_CASE("a full context ends the completion and says so") {
  const Outcome run = run_seer(generate({"-p", "The ship", "-c", "16", "--ignore-eos"}));
  CHECK(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("stopped by a full context"));
}

TEST_CASE("gates choose the prefill's blocks, -q leaves the closing line out") {
  std::string prompt;
  for (int i = 0; i < 200; ++i)
    prompt += "Chapter " + std::to_string(i) + " tells of the sea and the old house. ";
  const auto run = [&](const std::string& rule) {
    return run_seer(generate({"-g", testing::demo_gates_dir(), "-p", prompt, "-n", "1", "--sparse", rule}));
  };
  CHECK_THAT(run("dense").err, ContainsSubstring("density 100.0% (dense)"));
  const std::string sparse = run("threshold=0.02").err;
  CHECK_THAT(sparse, ContainsSubstring("% (threshold=0.02)"));
  CHECK(sparse.find("density 100.0%") == std::string::npos);
  CHECK_THAT(run("nz_ratio=0.2").err, ContainsSubstring("% (nz_ratio=0.2)"));
  const Outcome own = run_seer(generate({"-g", testing::demo_gates_dir(), "-p", prompt, "-n", "1"}));
  CHECK_THAT(own.err, ContainsSubstring("% (threshold=0.002)"));
  CHECK(run_seer(generate({"-p", "The ship", "-n", "2", "-q"})).err.empty());
}

TEST_CASE("a chat template wraps the prompt, without one the flag is named") {
  CHECK(completion({"-p", "Who are you?", "-n", "4", "--chat-template", "llama2"}) !=
        completion({"-p", "Who are you?", "-n", "4"}));
  CHECK_THAT(testing::check_fails(generate({"-p", "Who?", "--system", "Be brief."}), 2),
             ContainsSubstring("--chat-template"));
}

TEST_CASE("the flag -v describes model, cache and gates on stderr") {
  const Outcome run =
      run_seer(generate({"-v", "-g", testing::demo_gates_dir(), "-p", "The ship", "-n", "1"}));
  CHECK(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("seer: llama 5.77 M BF16"));
  CHECK_THAT(run.err, ContainsSubstring("256 pages of 64"));
  CHECK_THAT(run.err, ContainsSubstring("rule threshold=0.002"));
}

TEST_CASE("a context beyond the model's positions is allowed and warned of") {
  const Outcome run = run_seer(generate({"-p", "The ship", "-n", "1", "-c", "20000"}));
  CHECK(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("seer: warning: "));
  CHECK_THAT(run.err, ContainsSubstring("20000"));
  CHECK_THAT(run.err, ContainsSubstring("16384"));
}

}  // namespace
}  // namespace seer
