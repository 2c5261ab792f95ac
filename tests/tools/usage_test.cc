// Wrong command lines: exit code 2, and one line that says what to do.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "seer/error.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"
#include "tools/seer/args.h"
#include "tools/seer/commands.h"
#include "tools/seer/lengths.h"
#include "tools/seer/manual.h"
#include "tools/seer/option_hints.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

const std::vector<std::string> kCommands = {"generate", "chat",     "bench", "perplexity",
                                            "inspect",  "tokenize", "serve", "tune"};

std::vector<std::string> generate_words(std::vector<std::string> more) {
  more.insert(more.begin(), {"generate", "-m", testing::demo_model_dir()});
  return more;
}

TEST_CASE("a misspelt command or option is answered with its likely name") {
  CHECK_THAT(check_fails({}, 2), ContainsSubstring("seer --help"));
  CHECK_THAT(check_fails({"genrate"}, 2), ContainsSubstring("'generate'"));
  CHECK_THAT(check_fails({"generate", "--promt", "x"}, 2), ContainsSubstring("'--prompt'"));
  CHECK_THAT(check_fails({"generate", "stray"}, 2), ContainsSubstring("'stray'"));
  CHECK_THAT(check_fails({"generate", "-p"}, 2), ContainsSubstring("'-p' needs a value"));
  CHECK_THAT(check_fails({"generate", "-p", "hi"}, 2), ContainsSubstring("SEER_MODEL"));
}

TEST_CASE("seer --help ends with what was left out of the build, and the package that brings it") {
  CHECK(cli::left_out({true, true, true}).empty());
  const std::string nothing = cli::left_out({false, false, false});
  for (const char* package : {"cuda-toolkit", "libnccl-dev", "libopenmpi-dev"})
    CHECK_THAT(nothing, ContainsSubstring(package));
  const std::string cpu_ranks = cli::left_out({true, false, true});
  CHECK_THAT(cpu_ranks, ContainsSubstring("libnccl-dev"));
  CHECK_THAT(cpu_ranks, !ContainsSubstring("cuda-toolkit") && !ContainsSubstring("libopenmpi-dev"));

  const std::string help = run_seer({"--help"}).out;
  const std::string expected =
      cli::left_out({SEER_BUILT_WITH_CUDA != 0, SEER_BUILT_WITH_NCCL != 0, SEER_BUILT_WITH_MPI != 0});
  CHECK(help.ends_with("everything else to stderr.\n" + expected));
}

TEST_CASE("an option of another program is answered with the one here, or with why there is none") {
  const auto refused = [](const std::vector<std::string>& arguments) { return check_fails(arguments, 2); };
  struct Case {
    const char *command, *option, *here;
  };
  for (const Case& c : std::initializer_list<Case>{{"generate", "--temperature", "'--temp'"},
                                                   {"generate", "--max-tokens", "'--n-predict'"},
                                                   {"generate", "--max_new_tokens", "'--n-predict'"},
                                                   {"bench", "--max-tokens", "'--n-gen'"},
                                                   {"serve", "--max-model-len", "'--ctx-size'"},
                                                   {"chat", "--reverse-prompt", "'--stop'"},
                                                   {"generate", "--top_p", "'--top-p'"},
                                                   {"generate", "--Top-K", "'--top-k'"},
                                                   {"generate", "--ctx", "'--ctx-size'"},
                                                   {"generate", "--cpu-activations", "'--activations'"},
                                                   {"serve", "--tensor-parallel-size", "'--tp'"},
                                                   {"serve", "--gpu_memory_utilization", "'--gpu-memory-"},
                                                   {"generate", "--n-gpu-layers", "on one device as a whole"},
                                                   {"generate", "-ngl", "on one device as a whole"},
                                                   {"generate", "-temp", "'--temp'"},
                                                   {"serve", "-tp", "'--tp'"},
                                                   {"serve", "--trust-remote-code", "no code"}}) {
    INFO(c.command << " " << c.option);
    for (const std::vector<std::string>& form :
         {std::vector<std::string>{c.command, c.option, "1"}, {c.command, std::string(c.option) + "=1"}}) {
      if (form.size() == 2 && c.option[1] != '-') continue;
      const std::string message = refused(form);
      CHECK_THAT(message, ContainsSubstring(std::string("unknown option '") + c.option + "'") &&
                              ContainsSubstring(c.here));
    }
  }
  // A value may look like such an option.
  CHECK_THAT(check_fails(generate_words({"-p", "x", "-n", "1", "--stop", "-ngl", "--temp", "-1"}), 2),
             ContainsSubstring("temp"));
  CHECK_THAT(check_fails({"generate", "--nothing-like-it"}, 2), !ContainsSubstring("did you mean"));
}

TEST_CASE("every command's help ends each option with its default") {
  for (const std::string& command : kCommands) {
    INFO(command);
    const Outcome run = run_seer({command, "--help"});
    CHECK(run.code == 0);
    CHECK(run.err.empty());
    std::istringstream lines(run.out);
    std::string entry;
    int n_entries = 0;
    for (std::string line; std::getline(lines, line);) {
      const bool starts = line.starts_with("  -") || line.starts_with("      --");
      if (starts || line.empty()) {
        if (!entry.empty()) {
          INFO(entry);
          CHECK_THAT(entry, ContainsSubstring("(default: "));
          ++n_entries;
        }
        entry.clear();
      }
      // A continued line. Words that are broken over two lines are joined.
      if (starts)
        entry = line;
      else if (!entry.empty())
        entry += " " + line.substr(std::min(line.find_first_not_of(' '), line.size()));
    }
    CHECK(n_entries >= 6);
  }
  CHECK(run_seer({"--version"}).out.starts_with("seer "));
  const std::string help = run_seer({"--help"}).out;
  for (const std::string& command : kCommands) CHECK_THAT(help, ContainsSubstring(command));
}

TEST_CASE("values out of range are refused with the option, the value and the range") {
  const auto refused = [](const std::vector<std::string>& option) {
    std::vector<std::string> arguments = {"-p", "hi"};
    arguments.insert(arguments.end(), option.begin(), option.end());
    return check_fails(generate_words(arguments), 2);
  };
  CHECK_THAT(refused({"-n", "many"}), ContainsSubstring("'many' is not a whole number"));
  CHECK_THAT(refused({"-n", "-2"}), ContainsSubstring("--n-predict"));
  CHECK_THAT(refused({"--temp", "-1"}), ContainsSubstring("temperature"));
  CHECK_THAT(refused({"--temp", "nan"}), ContainsSubstring("nan"));
  CHECK_THAT(refused({"--top-p", "1.5"}), ContainsSubstring("top_p"));
  CHECK_THAT(refused({"--min-p", "-1"}), ContainsSubstring("min_p"));
  CHECK_THAT(refused({"--repeat-penalty", "0"}), ContainsSubstring("repeat_penalty"));
  CHECK_THAT(refused({"-s", "-3"}), ContainsSubstring("--seed"));
  CHECK_THAT(refused({"-t", "100000"}), ContainsSubstring("--threads"));
  CHECK_THAT(refused({"-c", "99999999999999"}), ContainsSubstring("99999999999999"));
  CHECK_THAT(refused({"--chunk-size", "100"}), ContainsSubstring("multiple of the gate block of 64"));
  CHECK_THAT(refused({"--mixed-chunk-size", "100"}), ContainsSubstring("mixed chunk size"));
  CHECK_THAT(refused({"--max-batch-size", "5000"}), ContainsSubstring("1 to 1024"));
  CHECK_THAT(refused({"-c", "512", "--pool-size", "511"}), ContainsSubstring("--pool-size"));
  CHECK_THAT(refused({"--kv-cache-dtype", "f16"}), ContainsSubstring("auto, f32 or bf16, found 'f16'"));
  CHECK_THAT(refused({"--weights", "q4_0"}), ContainsSubstring("auto, bf16, fp8 or int4, found 'q4_0'"));
  CHECK_THAT(refused({"--activations", "f16"}), ContainsSubstring("auto, f32 or bf16, found 'f16'"));
  CHECK_THAT(check_fails(generate_words({"-p", "hi", "--activations", "f32", "--device", "cuda"}), 3),
             ContainsSubstring("device 'cuda'") && ContainsSubstring("Leave out --activations"));
  CHECK_THAT(refused({"--sparse", "threshold=2"}), ContainsSubstring("threshold"));
  CHECK_THAT(refused({"--sparse", "half"}), ContainsSubstring("half"));
  CHECK_THAT(refused({"--sparse", "threshold=0.01"}), ContainsSubstring("SEER_GATES"));
  CHECK_THAT(refused({"--device", "tpu"}), ContainsSubstring("tpu"));
  CHECK_THAT(refused({"-r", ""}), ContainsSubstring("--stop"));
  CHECK_THAT(refused({"--min-tokens", "5", "-n", "4"}), ContainsSubstring("--min-tokens 5"));
  CHECK_THAT(refused({"--stop-id", "4096"}), ContainsSubstring("0 to 4095"));
  CHECK_THAT(refused({"--stop-id", "<|nobody|>"}), ContainsSubstring("'<|nobody|>'"));
}

TEST_CASE("an empty prompt, or more than one, is refused") {
  CHECK_THAT(check_fails(generate_words({"-p", ""}), 2), ContainsSubstring("empty"));
  CHECK_THAT(check_fails(generate_words({}), 2), ContainsSubstring("standard input"));  // an empty pipe
  CHECK_THAT(check_fails(generate_words({"-p", "a", "-f", "b"}), 2),
             ContainsSubstring("more than one prompt"));
  const testing::TempDir dir;
  testing::write_file(dir.path() / "empty.txt", "");
  CHECK_THAT(check_fails(generate_words({"-f", (dir.path() / "empty.txt").string()}), 2),
             ContainsSubstring("empty.txt"));
}

TEST_CASE("a prompt longer than the context is refused with both numbers") {
  const std::string message =
      check_fails(generate_words({"-p", "one two three four five six", "-c", "4"}), 2);
  CHECK_THAT(message, ContainsSubstring("7 tokens"));
  CHECK_THAT(message, ContainsSubstring("context of 4"));
  CHECK_THAT(message, ContainsSubstring("--ctx-size"));
}

TEST_CASE("a larger context is not advised beyond what the model was made for") {
  RunOptions piped;
  for (int i = 0; i < 16385; ++i) piped.input += "5 ";
  const std::string message = check_fails(generate_words({"--tokens-file", "-"}), 2, piped);
  CHECK_THAT(message, ContainsSubstring("16385 tokens") && ContainsSubstring("context of 16384, the most"));
  CHECK_THAT(message, !ContainsSubstring("--ctx-size"));
}

TEST_CASE("token ids out of range or malformed are refused by position") {
  const auto refused = [](const std::string& ids) {
    RunOptions piped;
    piped.input = ids;
    return check_fails(generate_words({"--tokens-file", "-"}), 2, piped);
  };
  CHECK_THAT(refused("1 4096"), ContainsSubstring("4096"));
  CHECK_THAT(refused("1 -1"), ContainsSubstring("-1"));
  CHECK_THAT(refused("1 two"), ContainsSubstring("two"));
  CHECK_THAT(refused("1 99999999999999999999"), ContainsSubstring("99999999999999999999"));
  CHECK_THAT(refused("1,2"), ContainsSubstring("1,2"));
  CHECK_THAT(refused(" \n"), ContainsSubstring("empty"));
}

TEST_CASE("every command has a table, and its help is that table") {
  for (const cli::Command& command : cli::commands()) {
    INFO(command.name);
    const cli::CommandTable table = command.describe();
    CHECK(table.name == command.name);
    CHECK(run_seer({command.name, "--help"}).out == cli::help_text(table));
    CHECK(table.options.size() >= 2);
    for (const cli::OptionRow& option : table.options) {
      CHECK(!option.standard.empty());
      CHECK(!option.help.empty());
      CHECK(!option.group.empty());
    }
  }
}

TEST_CASE("the manual page is what the tables say now") {
  // If this fails after a change of options, run: build/release/bin/seer man > tools/seer/seer.1
  CHECK(testing::read_file(SEER_MANUAL) == cli::manual_page());
  const Outcome run = run_seer({"man"});
  CHECK(run.out == cli::manual_page());
  for (const char* text :
       {"SEER_MODEL", "\\-\\-chat\\-template", "/sparse", "seer perplexity", ".SH EXIT STATUS"})
    CHECK_THAT(run.out, ContainsSubstring(text));
}

TEST_CASE("a completion script knows every option of every command") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    INFO(shell);
    const Outcome run = run_seer({"completion", shell});
    CHECK(run.code == 0);
    for (const cli::Command& command : cli::commands())
      for (const cli::OptionRow& option : command.describe().options)
        for (const std::string& name : option.names) {
          const bool fish = std::string(shell) == "fish";
          const std::string text = !fish                    ? name
                                   : name.starts_with("--") ? "-l " + name.substr(2)
                                                            : "-s " + name.substr(1);
          INFO(command.name << " " << text);
          CHECK_THAT(run.out, ContainsSubstring(text));
        }
  }
  CHECK_THAT(check_fails({"completion", "bsh"}, 2), ContainsSubstring("'bash'"));
  CHECK_THAT(check_fails({"completion"}, 2), ContainsSubstring("zsh"));
}

TEST_CASE("bash completes commands, options, values and files") {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "seer.bash", run_seer({"completion", "bash"}).out);
  const auto complete = [&](const std::string& words, int at) {
    const std::string command = "bash -c 'source " + (dir.path() / "seer.bash").string() + "; COMP_WORDS=(" +
                                words + "); COMP_CWORD=" + std::to_string(at) +
                                "; _seer; echo \"${COMPREPLY[@]}\"'";
    FILE* const pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    std::string text;
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
    REQUIRE(::pclose(pipe) == 0);
    return text;
  };
  CHECK(complete("seer per", 1) == "perplexity\n");
  CHECK(complete("seer bench --no-w", 2) == "--no-warmup\n");
  CHECK(complete("seer bench --output js", 3) == "json jsonl\n");
  CHECK(complete("seer completion z", 2) == "zsh\n");
  const std::string script = (dir.path() / "seer.bash").string();
  CHECK(complete("seer chat -f " + script.substr(0, script.size() - 3), 3) == script + "\n");
}

TEST_CASE("nearest finds what was meant, and nothing if nothing is near") {
  CHECK(cli::nearest("--treads", {"--threads", "--temp"}) == "--threads");
  CHECK(cli::nearest("zzzzzz", {"--threads", "--temp"}).empty());
}

TEST_CASE("lists of lengths are written as in llama-bench") {
  using Lengths = std::vector<int64_t>;
  CHECK(cli::parse_lengths("512") == Lengths{512});
  CHECK(cli::parse_lengths("512,1024,512") == Lengths{512, 1024});
  CHECK(cli::parse_lengths("512-2048+512") == Lengths{512, 1024, 1536, 2048});
  CHECK(cli::parse_lengths("512-8192*4") == Lengths{512, 2048, 8192});
  CHECK(cli::parse_lengths("5-8") == Lengths{5, 6, 7, 8});
  for (const char* wrong : {"", ",", "a", "-5", "8-5", "1-9*1", "1-9+0", "1-1000000", "99999999999", "5 "}) {
    INFO(wrong);
    CHECK_THROWS_AS(cli::parse_lengths(wrong), Error);
  }
}

}  // namespace
}  // namespace seer
