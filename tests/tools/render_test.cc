// seer render: the prompts of published templates, compared with transformers', and wrong use of it.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using OrderedJson = nlohmann::ordered_json;  // templates write objects in the order of their members
using testing::check_fails;
using testing::run_seer;
using testing::TempDir;
using testing::write_file;
using Words = std::vector<std::string>;

// The time for which the references were made.
constexpr const char* kDate = "2026-11-28T09:05:03";

struct Files {
  TempDir dir;
  std::string write(const std::string& name, const std::string& text) const {
    write_file(dir.path() / name, text);
    return (dir.path() / name).string();
  }
};

Words command(const OrderedJson& wanted, const std::string& chat_template, const Files& files) {
  Words words = {"render",
                 "--chat-template",
                 chat_template,
                 "--messages",
                 files.write("messages.json", wanted.at("messages").dump()),
                 "--date",
                 kDate};
  const auto add = [&](const std::string& option, const std::string& value) {
    words.push_back(option);
    words.push_back(value);
  };
  if (const OrderedJson tools = wanted.value("tools", OrderedJson()); !tools.is_null())
    add("--tools", files.write("tools.json", tools.dump()));
  for (const char* token : {"bos_token", "eos_token"})
    if (const OrderedJson text = wanted.value(token, OrderedJson()); text.is_string())
      add(token == std::string("bos_token") ? "--bos-token" : "--eos-token", text);
  OrderedJson kwargs = wanted.at("kwargs");
  if (!kwargs.value("add_generation_prompt", false)) words.emplace_back("--no-generation-prompt");
  kwargs.erase("add_generation_prompt");
  if (!kwargs.empty()) add("--chat-template-kwargs", kwargs.dump());
  return words;
}

TEST_CASE("published templates render character for character as transformers renders them", "[long]") {
  const auto dir = testing::test_data("templates");
  if (!dir) return;
  const Files files;
  int n_equal = 0;
  for (const OrderedJson& wanted : OrderedJson::parse(testing::read_file(*dir / "cases.json"))) {
    const std::string name = wanted.at("template");
    const auto run = run_seer(command(wanted, (*dir / (name + ".jinja")).string(), files));
    INFO(name << ", " << wanted.at("name") << ": " << run.err);
    if (const auto error = wanted.find("error"); error != wanted.end()) {
      CHECK(run.code == 3);
      CHECK(run.out.empty());
      const std::string text = *error;
      if (text.starts_with("TemplateError: "))
        CHECK_THAT(run.err, ContainsSubstring(text.substr(std::string("TemplateError: ").size())));
      continue;
    }
    CHECK(run.code == 0);
    CHECK(run.out == wanted.at("expected").get<std::string>());
    ++n_equal;
  }
  CHECK(n_equal == 199);
}

TEST_CASE("with a model its template and tokens count, and --ids prints what generate would compute") {
  const Files files;
  const std::string model = testing::demo_model_dir();
  const std::string messages = files.write("m.json", R"([{"role": "user", "content": "Hi"}])");
  const Words render = {"render", "-m", model, "--messages", messages, "--chat-template", "llama2"};
  CHECK(run_seer(render).out == "<s>[INST] Hi [/INST]");
  Words ids = render, other = render;
  ids.emplace_back("--ids");
  const auto generated = run_seer(
      {"generate", "-m", model, "-p", "Hi", "--chat-template", "llama2", "--echo", "--ids", "-n", "0", "-q"});
  CHECK(generated.out.starts_with(run_seer(ids).out.substr(0, run_seer(ids).out.size() - 1)));
  other.insert(other.end(), {"--bos-token", "B"});
  CHECK(run_seer(other).out == "B[INST] Hi [/INST]");
}

TEST_CASE("the last message is left open with --continue, and what opens the answer is left out when asked") {
  const Files files;
  const std::string messages = files.write(
      "m.json", R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well"}])");
  const Words render = {"render", "--messages", messages, "--chat-template", "chatml"};
  const auto with = [&](const std::string& flag) {
    Words words = render;
    words.push_back(flag);
    return run_seer(words).out;
  };
  CHECK(with("--continue").ends_with("<|im_start|>assistant\nWell"));
  CHECK(with("--no-generation-prompt").ends_with("Well<|im_end|>\n"));
  CHECK(run_seer(render).out.ends_with("Well<|im_end|>\n<|im_start|>assistant\n"));
}

TEST_CASE("wrong use of render is refused with what was expected") {
  const Files files;
  const std::string messages = files.write("m.json", R"([{"role": "user", "content": "Hi"}])");
  const auto error = [&](Words words, int code = 2) {
    words.insert(words.begin(), "render");
    return check_fails(words, code);
  };
  CHECK_THAT(error({"--chat-template", "chatml"}), ContainsSubstring("--messages is missing"));
  CHECK_THAT(error({"--messages", messages}), ContainsSubstring("-m"));
  CHECK_THAT(error({"--messages", messages, "--chat-template", "pigeon"}), ContainsSubstring("'pigeon'"));
  CHECK_THAT(error({"--messages", messages, "--chat-template", "chatml", "--ids"}), ContainsSubstring("-m"));
  CHECK_THAT(error({"--messages", messages, "--chat-template", "chatml", "--date", "2026-13"}),
             ContainsSubstring("--date") && ContainsSubstring("'2026-13'"));
  CHECK_THAT(error({"--messages", messages, "--chat-template", "chatml", "--chat-template-kwargs", "[1]"}),
             ContainsSubstring("--chat-template-kwargs") && ContainsSubstring("JSON object"));
  CHECK_THAT(error({"--messages", files.write("no.json", "{"), "--chat-template", "chatml"}),
             ContainsSubstring("messages: expected JSON"));
  const std::string broken = files.write("broken.jinja", "line one\n{% for x in %}");
  CHECK_THAT(error({"--messages", messages, "--chat-template", broken}, 3),
             ContainsSubstring("broken.jinja:2"));
}

}  // namespace
}  // namespace seer
