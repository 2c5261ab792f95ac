// seer tokenize in both directions.
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

Outcome tokenize(const std::string& model, std::vector<std::string> more, const std::string& input = "") {
  more.insert(more.begin(), {"tokenize", "-m", model});
  RunOptions options;
  options.input = input;
  Outcome run = run_seer(more, options);
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(run.err.empty());
  return run;
}

TEST_CASE("ids are printed on one line, with BOS unless --no-bos") {
  const std::string model = testing::demo_model_dir();
  const std::string with_bos = tokenize(model, {"-p", "The ship"}).out;
  const std::string without = tokenize(model, {"-p", "The ship", "--no-bos"}).out;
  CHECK(with_bos == "1 " + without);
  CHECK(tokenize(model, {}, "The ship").out == with_bos);
  CHECK(tokenize(model, {"-p", "", "--no-bos"}).out == "\n");
}

TEST_CASE("tokenize --decode gives the bytes back that were encoded") {
  const std::string model = testing::demo_model_dir();
  for (const std::string text :
       {"The ship\n", "  two  spaces ", "\xE2\x82\xAC 5\tand \xF0\x9F\x98\x80", "a\r\nb\n\n"}) {
    INFO(text);
    const std::string ids = tokenize(model, {}, text).out;
    CHECK(tokenize(model, {"--decode"}, ids).out == text);
  }
}

TEST_CASE("the texts of real tokenizers come back as they were, through the command line") {
  for (const std::string name : {"llama2", "llama3.1"}) {
    const auto cases = testing::test_data("tokenizers/" + name + "/cases.inp");
    if (!cases) return;
    const std::string text = testing::read_file(*cases), model = cases->parent_path().string();
    const std::string ids = tokenize(model, {"--no-bos"}, text).out;
    CHECK(ids.size() > 1000);
    CHECK(tokenize(model, {"--decode"}, ids).out == text);
  }
}

TEST_CASE("special tokens are text unless asked for, and hidden unless asked for") {
  const std::string model = testing::demo_model_dir();
  CHECK(tokenize(model, {"--no-bos", "--parse-special", "-p", "</s>"}).out == "2\n");
  CHECK(tokenize(model, {"--no-bos", "-p", "</s>"}).out != "2\n");
  CHECK(tokenize(model, {"--decode", "-p", "1 2"}).out.empty());
  CHECK(tokenize(model, {"--decode", "--special", "-p", "1 2"}).out == "<s></s>");
}

TEST_CASE(
    "an id that a padded vocabulary has beyond the tokenizer decodes to nothing, and a warning names it") {
  const Outcome run =
      testing::run_seer({"tokenize", "-m", testing::demo_model_dir(), "--decode", "-p", "4096"});
  CHECK(run.code == 0);
  CHECK(run.out.empty());
  CHECK_THAT(run.err, ContainsSubstring("token id 4096 is beyond the tokenizer's 4096 entries"));
}

TEST_CASE("what contradicts --decode is refused") {
  const auto refused = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"tokenize", "-m", testing::demo_model_dir()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return check_fails(arguments, 2);
  };
  CHECK_THAT(refused({"--decode", "--no-bos", "-p", "1"}), ContainsSubstring("--no-bos"));
  CHECK_THAT(refused({"--special", "-p", "x"}), ContainsSubstring("--decode"));
  CHECK_THAT(refused({"--decode", "-p", "x"}), ContainsSubstring("x"));
}

TEST_CASE("tokenizer files that are no regular files, or too large, are refused at once and by name") {
  namespace fs = std::filesystem;
  const testing::TempDir dir;
  const fs::path config = fs::path(testing::demo_model_dir()) / "tokenizer_config.json";
  const auto refused = [&](const std::string& name) {
    const std::string message = check_fails({"tokenize", "-m", dir.path().string(), "-p", "x"}, 3);
    CHECK_THAT(message, ContainsSubstring(name));
    fs::remove_all(dir.path() / name);
    return message;
  };
  for (const char* name : {"tokenizer_config.json", "tokenizer.json", "tokenizer.model"}) {
    INFO(name);
    const fs::path path = dir.path() / name;
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK_THAT(refused(name), ContainsSubstring("a pipe"));
    fs::create_symlink("/dev/zero", path);
    CHECK_THAT(refused(name), ContainsSubstring("a device"));
    fs::create_symlink(name, path);
    CHECK_THAT(refused(name), ContainsSubstring("Too many levels of symbolic links"));
    fs::create_directory(path);
    CHECK_THAT(refused(name), ContainsSubstring("a folder"));
    testing::write_file(path, "");
    fs::resize_file(path, (uintmax_t{256} << 20) + 1);
    CHECK_THAT(refused(name), ContainsSubstring("at most 256 MiB"));
    fs::copy_file(config, dir.path() / "tokenizer_config.json", fs::copy_options::overwrite_existing);
  }
}

TEST_CASE("prompts, messages and templates from what never ends are refused at once") {
  const std::string model = testing::demo_model_dir();
  const testing::TempDir dir;
  const std::string loop = dir.path() / "loop", sparse = dir.path() / "large.jinja";
  std::filesystem::create_symlink("loop", loop);
  testing::write_file(sparse, "");
  std::filesystem::resize_file(sparse, uintmax_t{200} << 20);
  for (const std::string& path : {std::string("/dev/zero"), loop, dir.path().string()}) {
    CHECK_THAT(check_fails({"tokenize", "-m", model, "-f", path}, 3), ContainsSubstring(path));
    CHECK_THAT(check_fails({"render", "-m", model, "--chat-template", "none", "--messages", path}, 3),
               ContainsSubstring(path));
    CHECK_THAT(check_fails({"render", "-m", model, "--messages", "/dev/null", "--chat-template", path}, 3),
               ContainsSubstring(path));
  }
  CHECK_THAT(check_fails({"render", "-m", model, "--messages", "/dev/null", "--chat-template", sparse}, 3),
             ContainsSubstring("at most 524288 bytes"));
  CHECK(tokenize(model, {"-f", "/dev/null", "--no-bos"}).out == "\n");
}

}  // namespace
}  // namespace seer
