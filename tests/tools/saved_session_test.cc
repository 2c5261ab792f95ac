// Sessions in files, as a user of generate and chat saves and loads them.
#include <filesystem>
#include <sstream>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

std::string saved_prompt() {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "The ship " + std::to_string(i) + " came to the harbour. ";
  return text;
}

std::vector<std::string> generate_with(std::vector<std::string> more) {
  more.insert(more.begin(), {"generate", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(),
                             "--temp", "0", "-n", "8"});
  return more;
}

Outcome runs(const std::vector<std::string>& arguments, const std::string& input = {}) {
  RunOptions options;
  options.input = input;
  Outcome run = run_seer(arguments, options);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return run;
}

Outcome chat(const std::string& input) {
  return runs({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "--temp", "0", "-n", "8"},
              input);
}

std::string last_line(const std::string& text) {
  std::istringstream lines(text);
  std::string last;
  for (std::string line; std::getline(lines, line);) last = line;
  return last;
}

TEST_CASE("generate goes on with a saved session as with one prompt of all, and says what it takes") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "ship").string(), second = (dir.path() / "second").string();
  const Outcome saved = runs(generate_with({"-p", saved_prompt(), "-n", "0", "--save-session", file}));
  CHECK(saved.out.empty());
  CHECK_THAT(saved.err, ContainsSubstring("seer: " + file + ": ") && ContainsSubstring(" tokens, ") &&
                            ContainsSubstring("(6.09 KiB a token), saved in "));
  const Outcome more = runs(generate_with({"--session", file, "-p", "Then", "--save-session", second}));
  CHECK_THAT(more.err, ContainsSubstring("(6.09 KiB a token), read in ") && ContainsSubstring(" cached, "));
  CHECK(more.out == runs(generate_with({"-p", saved_prompt() + "Then"})).out);
  // The prompt may be empty, and it may be so after an answer too. There both runs are dense, because a
  // sparse rule would compute the answer's tokens in another way than they were decoded.
  CHECK(runs(generate_with({"--session", file, "-p", ""})).out ==
        runs(generate_with({"-p", saved_prompt()})).out);
  const auto densely = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--sparse", "dense"});
    return runs(generate_with(std::move(arguments))).out;
  };
  const std::string half = densely({"-p", saved_prompt(), "--save-session", second});
  CHECK(half + densely({"--session", second, "-p", ""}) == densely({"-p", saved_prompt(), "-n", "16"}));
  const Outcome quiet =
      runs(generate_with({"--session", file, "-p", "Then", "--save-session", second, "-q"}));
  CHECK(quiet.err.empty());
}

TEST_CASE("generate refuses a session that it cannot use, and a place where none can be saved, at once") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "ship").string();
  runs(generate_with({"-p", "A ship", "--save-session", file}));
  const std::string bytes = testing::read_file(file);
  CHECK_THAT(check_fails(generate_with({"--session", file, "-p", "Then", "--kv-cache-dtype", "bf16"}), 3),
             ContainsSubstring("expected the type of keys and values 'BF16'"));
  CHECK_THAT(check_fails(generate_with({"--session", file, "-p", "Then", "--system", "Be brief."}), 2),
             ContainsSubstring("leave out --system"));
  testing::write_file(file, bytes.substr(0, bytes.size() - 1));
  CHECK_THAT(check_fails(generate_with({"--session", file, "-p", "Then"}), 3),
             ContainsSubstring("cut short"));
  const std::string nowhere = (dir.path() / "no" / "folder").string();
  CHECK_THAT(check_fails(generate_with({"-p", "A ship", "--save-session", nowhere}), 1),
             ContainsSubstring("No such file or directory"));
  CHECK_THAT(check_fails(generate_with({"--session", nowhere, "-p", "Then"}), 3),
             ContainsSubstring("there is no such file"));
}

TEST_CASE("a session that does not fit the disk is an error after the answer, and keeps the file before it") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "ship").string();
  testing::write_file(file, "precious");
  RunOptions limited;
  limited.file_size_limit = 10000;
  const Outcome run = run_seer(generate_with({"-p", "A ship", "--save-session", file}), limited);
  CHECK(run.code == 1);
  CHECK(!run.out.empty());
  CHECK_THAT(run.err, ContainsSubstring("File too large; the file that was there before is left as it was"));
  CHECK(testing::read_file(file) == "precious");
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("two ranks save a session that two ranks load") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "ship").string();
  for (const std::string ranks : {"--tp", "--cp"}) {
    runs(generate_with({"-p", saved_prompt(), "-n", "0", ranks, "2", "--save-session", file}));
    CHECK(runs(generate_with({"--session", file, "-p", "Then", ranks, "2"})).out ==
          runs(generate_with({"-p", saved_prompt() + "Then", ranks, "2"})).out);
    CHECK_THAT(check_fails(generate_with({"--session", file, "-p", "Then"}), 3),
               ContainsSubstring("expected the ranks '1'"));
  }
}

TEST_CASE("chat goes on after /load as if the chat had not ended") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "talk").string();
  const std::string question = saved_prompt() + "\n";
  const Outcome first = chat("/system Be brief.\n" + question + "/save " + file + "\n");
  CHECK_THAT(first.err, ContainsSubstring("a token), 3 messages\n"));
  const Outcome whole = chat("/system Be brief.\n" + question + "And then\n/undo\n/history\n");
  const Outcome rest = chat("Who?\n/load " + file + "\nAnd then\n/stats\n/undo\n/history\n");
  CHECK(last_line(rest.out) == last_line(whole.out));
  CHECK_THAT(rest.err, !ContainsSubstring("and 0 cached"));
  CHECK_THAT(rest.err, ContainsSubstring("system: Be brief.\nuser: The ship 0"));
  // /reset keeps the loaded conversation's system message.
  CHECK_THAT(chat("/load " + file + "\n/reset\n/history\n").err, ContainsSubstring("system: Be brief.\n"));
}

TEST_CASE("chat refuses what holds no conversation, and goes on with the one it has") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "ship").string(), talk = (dir.path() / "talk.json").string();
  runs({"generate", "-m", testing::demo_model_dir(), "-p", "A ship", "-n", "2", "--save-session", file});
  chat("Hello\n/save " + talk + "\n");
  for (const std::string& other : {file, talk}) {
    RunOptions options;
    options.input = "/load " + other + "\n";
    const Outcome run =
        run_seer({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none"}, options);
    CHECK(run.code == 3);
    CHECK_THAT(run.err, ContainsSubstring(other == file ? "a session without one" : "another kind of file"));
  }
  // On a terminal a mistake is a message.
  RunOptions terminal;
  terminal.session = {{"/help lists commands", "Hello\n"},
                      {"> ", "/load " + file + "\n"},
                      {"a session without one", "/history\n"},
                      {"user: Hello", "/exit\n"}};
  CHECK(run_seer({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "-n", "2"}, terminal)
            .code == 0);
}

}  // namespace
}  // namespace seer
