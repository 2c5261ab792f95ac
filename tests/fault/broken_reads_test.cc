// Files whose reading fails half way, because a library is preloaded into seer.
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;
using testing::RunOptions;

Outcome run(const std::string& file, const std::string& fault, const std::vector<std::string>& arguments) {
  RunOptions options;
  options.launcher = {"env", "LD_PRELOAD=" SEER_BROKEN_READS, "SEER_FAULT_FILE=" + file,
                      "SEER_FAULT=" + fault};
  return run_seer(arguments, options);
}

struct Reader {
  const char* file;  // the end of its path
  std::vector<std::string> arguments;
};

std::vector<Reader> readers(const testing::TempDir& dir) {
  const std::string model = testing::demo_model_dir(), gates = testing::demo_gates_dir();
  const std::string prompt = (dir.path() / "prompt.txt").string(), ids = (dir.path() / "ids.txt").string(),
                    messages = (dir.path() / "messages.json").string();
  std::string text, numbers;
  for (int i = 0; i < 20; ++i) text += "The ship went down. ", numbers += "300 ";
  testing::write_file(prompt, text);
  testing::write_file(ids, numbers + "301");
  testing::write_file(messages, R"([{"role": "user", "content": "Where did the ship go down?"}])");
  const std::vector<std::string> generate = {"generate", "-m", model, "-g", gates,    "-p",
                                             text,       "-n", "2",   "-q", "--temp", "0"};
  return {{"model/config.json", generate},
          {"model/generation_config.json", generate},
          {"model/tokenizer.model", generate},
          {"model/tokenizer_config.json", generate},
          {"gates/config.json", generate},
          {"prompt.txt", {"tokenize", "-m", model, "-f", prompt}},
          {"ids.txt", {"generate", "-m", model, "--tokens-file", ids, "-n", "2", "-q", "--temp", "0"}},
          {"messages.json", {"render", "-m", model, "--chat-template", "llama2", "--messages", messages}}};
}

TEST_CASE(
    "a disk that fails at the first byte or later ends in exit code 3, the file's name and the reason") {
  if (testing::kSanitized) return testing::skip("a sanitizer's library must be loaded first");
  const testing::TempDir dir;
  for (const Reader& reader : readers(dir)) {
    for (const char* fault : {"eio:0", "eio:50"}) {
      INFO(reader.file << " " << fault);
      const Outcome outcome = run(reader.file, fault, reader.arguments);
      INFO(outcome.err);
      CHECK(outcome.code == 3);
      CHECK(outcome.out.empty());
      CHECK_THAT(outcome.err,
                 ContainsSubstring(reader.file) && ContainsSubstring("reading failed: Input/output error"));
    }
  }
}

TEST_CASE("a file that is cut short while it is read is refused as what is left of it, or read as that") {
  if (testing::kSanitized) return testing::skip("a sanitizer's library must be loaded first");
  const testing::TempDir dir;
  for (const Reader& reader : readers(dir)) {
    INFO(reader.file);
    const Outcome outcome = run(reader.file, "cut:50", reader.arguments);
    INFO(outcome.err);
    const bool is_text = std::string(reader.file).ends_with(".txt");
    CHECK(outcome.code == (is_text ? 0 : std::string(reader.file) == "messages.json" ? 2 : 3));
    CHECK((is_text || outcome.err.find("seer: error: ") != std::string::npos));
  }
}

TEST_CASE("a file that comes a few bytes at a time, between signals, is read whole") {
  if (testing::kSanitized) return testing::skip("a sanitizer's library must be loaded first");
  const testing::TempDir dir;
  for (const Reader& reader : readers(dir)) {
    INFO(reader.file);
    const Outcome slow = run(reader.file, "trickle", reader.arguments);
    INFO(slow.err);
    CHECK(slow.code == 0);
    CHECK(slow.out == testing::run_seer(reader.arguments).out);
  }
}

}  // namespace
}  // namespace seer
