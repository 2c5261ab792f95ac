// seer tune with the demo model: its rows, its look-ups, what it writes, and what it refuses.
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "seer/tokenizer.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/decode_gates.h"
#include "tests/tools/run_seer.h"
#include "tools/seer/tune/look_ups.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;
using Words = std::vector<std::string>;

std::string story(int n_sentences = 90) {
  std::string text;
  for (int i = 0; i < n_sentences; ++i)
    text +=
        "On day " + std::to_string(i * i) + " the captain looked at the sea and said nothing for a time.\n";
  return text;
}

// The demo model's gates in a folder of their own, whose config.json may be written to.
struct Gates {
  testing::TempDir dir;

  Gates() {
    const fs::path gates = testing::demo_gates_dir();
    fs::create_symlink(gates / "attn_gate_weights.safetensors", dir.path() / "attn_gate_weights.safetensors");
    testing::write_file(dir.path() / "config.json", config_before());
  }
  static std::string config_before() {
    return testing::read_file(fs::path(testing::demo_gates_dir()) / "config.json");
  }
  std::string path() const { return dir.path().string(); }
  std::string config() const { return testing::read_file(dir.path() / "config.json"); }
};

Words tune(const std::string& gates, const Words& more) {
  Words words = {"tune",     "-m",  testing::demo_model_dir(), "-g", gates, "-q", "-p", story(),
                 "--output", "json"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Outcome done(const Words& words) {
  Outcome run = run_seer(words);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return run;
}

std::string rule_of(const std::string& gates, const char* kind) {
  const Outcome run = done({"inspect", "-m", testing::demo_model_dir(), "-g", gates, "--output", "json"});
  return json::parse(run.out).at(kind).at("default_rule").get<std::string>();
}

TEST_CASE("tune has perplexity's figures of each rule, finds look-ups, and recommends one rule") {
  const Words measured = {"--window", "320", "--max-windows", "2", "--sparse", "threshold=0.02,nz_ratio=0.2"};
  Words words = tune(testing::demo_gates_dir(), measured);
  words.insert(words.end(), {"--look-ups", "3", "--max-ppl-ratio", "2", "--max-lost-look-ups", "3"});
  const json rows = json::parse(done(words).out);
  Words same = {
      "perplexity", "-m",  testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "-q", "-p", story(),
      "--output",   "json"};
  same.insert(same.end(), measured.begin(), measured.end());
  same.back() = "dense," + same.back();
  const json expected = json::parse(done(same).out);
  REQUIRE(rows.size() == 3);
  int n_recommended = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i]["rule"] == expected[i]["sparse"]);
    for (const char* key : {"density", "perplexity", "perplexity_error", "ratio", "ratio_error", "n_windows"})
      CHECK(rows[i][key] == expected[i][key]);
    CHECK(rows[i]["n_look_ups"] == 3);
    CHECK(rows[i]["prefill_seconds"].get<double>() > 0.0);
    n_recommended += rows[i]["recommended"].get<bool>() ? 1 : 0;
  }
  CHECK(rows[0]["n_found"] == 3);
  CHECK(n_recommended == 1);
  const size_t cheapest = rows[1]["density"] < rows[2]["density"] ? 1 : 2;
  CHECK(rows[cheapest]["recommended"] == true);
}

TEST_CASE("tune --write makes the rule the gates' own and keeps every other byte of config.json") {
  const Gates gates;
  ::chmod((gates.dir.path() / "config.json").c_str(), 0640);
  const Words brief = {"--window", "128", "--max-windows", "1", "--look-ups", "0", "--write"};
  const auto write = [&](Words more) {
    more.insert(more.begin(), brief.begin(), brief.end());
    return done(tune(gates.path(), more));
  };
  const Outcome run = write({"--sparse", "threshold=0.03", "--max-ppl-ratio", "9"});
  CHECK_THAT(run.err, ContainsSubstring("config.json has threshold=0.03 now"));
  std::string expected = Gates::config_before();
  expected.replace(expected.find("0.002"), 5, "0.03");
  CHECK(gates.config() == expected);
  struct stat info {};
  REQUIRE(::stat((gates.dir.path() / "config.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
  CHECK_THAT(
      run_seer({"generate", "-m", testing::demo_model_dir(), "-g", gates.path(), "-p", "A ship", "-n", "1"})
          .err,
      ContainsSubstring("(threshold=0.03)"));
  for (const char* rule : {"nz_ratio=0.5", "nz_ratio_row=0.25"}) {
    write({"--sparse", rule, "--target-density", "1"});
    CHECK(rule_of(gates.path(), "gates") == rule);
  }
  // The threshold of the file before is kept, though the new rule does not use it.
  CHECK_THAT(gates.config(), ContainsSubstring("\"seerattn_threshold\": 0.03"));
  CHECK(!fs::exists(gates.dir.path() / "config.json.tmp"));
}

TEST_CASE("tune --per-head finds factors on the last windows, tries them on the others and writes them",
          "[long]") {
  const Gates gates;
  const auto rows_of = [&](const Words& more) {
    Words words = tune(gates.path(), {"--window", "320", "--look-ups", "0", "--target-density", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return json::parse(done(words).out);
  };
  const json rows = rows_of({"--max-windows", "3", "--per-head", "2", "--per-head-at", "0.1", "--sparse",
                             "head_threshold=0.1", "--write"});
  REQUIRE(rows.size() == 2);
  CHECK(rows[1]["rule"] == "head_threshold=0.1");
  CHECK(rows[1]["n_windows"] == 1);
  CHECK(rows[1]["recommended"] == true);

  const json config = json::parse(gates.config());
  CHECK(config.at("seerattn_sparsity_method") == "head_threshold");
  CHECK(config.at("seerattn_threshold") == 0.1);
  REQUIRE(config.at("seer_threshold_factors").size() == 6);
  double least = 9.0, most = 0.0;
  for (const json& layer : config.at("seer_threshold_factors")) {
    REQUIRE(layer.size() == 4);
    for (const json& factor : layer) {
      least = std::min(least, factor.get<double>());
      most = std::max(most, factor.get<double>());
    }
  }
  CHECK(least >= 0.5);
  CHECK(least < 0.8);
  CHECK(most > 1.25);
  CHECK(most <= 2.0);
  CHECK(rule_of(gates.path(), "gates") == "head_threshold=0.1");

  // Gates that have factors are tried with them: the same figures as in the run that found them.
  const json again = rows_of({"--max-windows", "1", "--sparse", "threshold=0.1,head_threshold=0.1"});
  for (const char* key : {"rule", "density", "perplexity"}) CHECK(again[2][key] == rows[1][key]);
  CHECK(again[1]["density"] != again[2]["density"]);
}

TEST_CASE("tune --per-head refuses too few windows, and head_threshold needs factors") {
  const auto refuse = [](const Words& more, const char* text) {
    CHECK_THAT(check_fails(tune(testing::demo_gates_dir(), more), 2), ContainsSubstring(text));
  };
  refuse({"--window", "128", "--per-head", "1"}, "--per-head: expected at least 2 windows");
  refuse({"--window", "128", "--max-windows", "2", "--per-head", "2"}, "leaves no window to try rules on");
  refuse({"--window", "128", "--per-head", "2", "--per-head-at", "0"},
         "--per-head-at: expected a threshold above 0");
  refuse({"--window", "128", "--sparse", "head_threshold=0.1"}, "seer_threshold_factors");
}

TEST_CASE("tune tries rules for decoding, and writes those that config.json can say") {
  const testing::TempDir dir;
  testing::write_decode_gates(dir.path(), {});
  const auto run = [&](const std::string& rules, const Words& more) {
    Words words = tune(dir.path().string(),
                       {"--window", "320", "--max-windows", "1", "--decode-tokens", "16", "--look-ups", "1",
                        "--max-lost-look-ups", "1", "--max-ppl-ratio", "99", "--sparse-decode", rules});
    words.insert(words.end(), more.begin(), more.end());
    return json::parse(done(words).out);
  };
  const json rows = run("ratio=0.05,budget=128,threshold=0.001", {"--write"});
  REQUIRE(rows.size() == 4);
  CHECK(rows[0]["rule"] == "dense");
  CHECK(rows[0]["n_found"] == 1);
  CHECK(rows[0]["density"] == 1.0);
  CHECK(rows[1]["density"].get<double>() < 0.9);
  CHECK(rows[1]["recommended"] == false);  // a ratio cannot be written
  CHECK(rows[2]["tokens_per_second"].get<double>() > 0.0);
  CHECK(rows[2]["purpose"] == "decoding");
  CHECK(rows[2]["n_decoded"] == 16);
  CHECK(rule_of(dir.path().string(), "decode_gates") == "budget=128");
  CHECK(run("ratio=0.05", {})[1]["recommended"] == true);
}

TEST_CASE("look-ups follow from the seed, fill a window, and ask for what stands in the text") {
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  const std::string text = story();
  const auto n_tokens = static_cast<int64_t>(tokenizer->encode(text, false).size());
  cli::LookUpOptions options;
  options.n = 6;
  const std::vector<cli::LookUp> look_ups = make_look_ups(options, text, n_tokens, 400, *tokenizer);
  const std::vector<cli::LookUp> again = make_look_ups(options, text, n_tokens, 400, *tokenizer);
  options.seed = 1;
  const std::vector<cli::LookUp> others = make_look_ups(options, text, n_tokens, 400, *tokenizer);
  REQUIRE(look_ups.size() == 6);
  std::vector<int> sixths(6);
  for (size_t i = 0; i < 6; ++i) {
    const cli::LookUp& look_up = look_ups[i];
    CHECK(look_up.prompt == again[i].prompt);
    CHECK(look_up.prompt != others[i].prompt);
    const auto n = static_cast<int64_t>(look_up.prompt.size() + look_up.number_ids.size());
    CHECK((n <= 400 && n > 360));
    CHECK((look_up.n_document > n - 60 && look_up.n_document < static_cast<int64_t>(look_up.prompt.size())));
    const std::string prompt = tokenizer->decode(look_up.prompt), subject = look_up.subject;
    CHECK_THAT(prompt,
               ContainsSubstring("\nThe secret number of the " + subject + " is " + look_up.number + ".\n"));
    CHECK(prompt.ends_with("\nWhat is the secret number of the " + subject + "? The secret number of the " +
                           subject + " is"));
    std::string number = tokenizer->decode(look_up.number_ids);
    CHECK(number.substr(number.find_first_not_of(' ')) == look_up.number);
    ++sixths.at(static_cast<size_t>(look_up.depth * 6.0));
  }
  CHECK(sixths == std::vector<int>(6, 1));  // every part of the text is asked for
}

TEST_CASE("look-ups leave out subjects of the text, and take other sentences and chat templates") {
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  cli::LookUpOptions options;
  options.fact = "The number {number} is that of a {subject}.";
  options.question = "Which one is that of a {subject}?";
  options.answer = "Of a {subject} it is";
  options.chat_template.name = "llama2";
  const cli::LookUp look_up = make_look_ups(options, story(), 2000, 400, *tokenizer).at(0);
  const std::string prompt = tokenizer->decode(look_up.prompt);
  CHECK_THAT(prompt,
             ContainsSubstring("The number " + look_up.number + " is that of a " + look_up.subject + "."));
  CHECK_THAT(prompt, ContainsSubstring("[/INST]"));
  CHECK(prompt.ends_with("Of a " + look_up.subject + " it is"));
  // This fact begins alike for every subject, and so the text has it already.
  CHECK_THROWS_AS(make_look_ups(options, story() + "The number ", 2000, 400, *tokenizer), Error);
}

TEST_CASE("tune refuses what leaves nothing to try or to compare, and says what to do") {
  const std::string model = testing::demo_model_dir(), gates = testing::demo_gates_dir();
  const auto refused = [&](const Words& more, const std::string& text) {
    CHECK_THAT(check_fails(tune(gates, more), 2), ContainsSubstring(text));
  };
  CHECK_THAT(check_fails({"tune", "-m", model, "-p", "x"}, 2), ContainsSubstring("no gates"));
  CHECK_THAT(check_fails({"tune", "-m", model, "-g", gates, "-p", "too short", "--window", "99"}, 2),
             ContainsSubstring("needs one more than that"));
  refused({"--window", "32"}, "a window of 32 tokens has no room for a look-up");
  refused({"--window", "64", "--look-ups", "0", "--sparse", "dense"}, "no rule to try");
  refused({"--window", "64", "--sparse-decode", "budget=64"}, "gates for decoding");
  refused({"--target-density", "0"}, "--target-density: expected a share above 0 and up to 1, found 0");
  refused({"--max-ppl-ratio", "-1"}, "--max-ppl-ratio: expected a ratio above 0");
  refused({"--look-up-fact", "The number is {number}."}, "with {subject} and {number}");
  refused({"--look-up-question", "Is it {number}?"}, "would give it away");
}

TEST_CASE("a folder that cannot be written to is reported before the work") {
  const Gates gates;
  fs::create_directory(gates.dir.path() / "config.json.tmp");
  CHECK_THAT(check_fails(tune(gates.path(), {"--window", "64", "--write"}), 1),
             ContainsSubstring("config.json: Is a directory"));
  CHECK_THAT(
      check_fails(tune(gates.path(), {"--window", "64", "--report", gates.path() + "/config.json"}), 1),
      ContainsSubstring("cannot make the folder " + gates.path() + "/config.json"));
}

TEST_CASE("a target that no rule meets gives the table, then an error with the nearest rule") {
  const Gates gates;
  const Outcome run =
      run_seer(tune(gates.path(), {"--window", "128", "--max-windows", "1", "--look-ups", "0", "--sparse",
                                   "threshold=0.02", "--target-density", "0.0001", "--write"}));
  CHECK(run.code == 2);
  CHECK(json::parse(run.out).size() == 2);
  CHECK_THAT(run.err, ContainsSubstring(
                          "no rule for prompts meets --target-density 0.0001. The nearest: threshold=0.02"));
  CHECK(gates.config() == Gates::config_before());
}

TEST_CASE("tune writes the trade-off curve and a page") {
  const testing::TempDir dir;
  const fs::path report = dir.path() / "new" / "folder";
  done(tune(testing::demo_gates_dir(),
            {"--window", "128", "--max-windows", "2", "--look-ups", "0", "--sparse",
             "threshold=0.02,nz_ratio=0.3", "--max-ppl-ratio", "9", "--report", report.string()}));
  CHECK(testing::read_file(report / "trade-off.png").starts_with("\x89PNG\r\n"));
  const std::string page = testing::read_file(report / "report.html");
  CHECK_THAT(page, ContainsSubstring("2 windows of 128 tokens"));
  CHECK_THAT(page, ContainsSubstring("threshold=0.02"));
  CHECK(page.ends_with("</html>\n"));
}

TEST_CASE("Ctrl-C in tune prints the windows that were done and leaves the gates alone") {
  const Gates gates;
  RunOptions options;
  options.input = story(400);
  options.interrupt_at = "window 1/";
  const Outcome run =
      run_seer({"tune", "-m", testing::demo_model_dir(), "-g", gates.path(), "--window", "256", "--look-ups",
                "100", "--sparse", "threshold=0.02", "--write", "--output", "json"},
               options);
  CHECK(run.code == 130);
  const json rows = json::parse(run.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["n_windows"] == rows[1]["n_windows"]);
  CHECK(rows[1]["n_look_ups"].get<int>() < 100);
  CHECK_THAT(run.err, ContainsSubstring("the gates' rules stay as they were"));
  CHECK(gates.config() == Gates::config_before());
  CHECK(!fs::exists(gates.dir.path() / "config.json.tmp"));
}

}  // namespace
}  // namespace seer
