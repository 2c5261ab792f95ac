// seer bench, perplexity and inspect: rows for people and for programs.
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;

std::string output_of(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.insert(arguments.begin() + 1, {"-m", testing::demo_model_dir()});
  RunOptions options;
  options.input = input;
  const Outcome run = run_seer(arguments, options);
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(run.err.empty());
  return run.out;
}

const std::vector<std::string> kBench = {
    "bench", "-g",       testing::demo_gates_dir(), "-p", "128,256", "-n", "4", "-d", "0,64", "-r",
    "2",     "--sparse", "dense,threshold=0.3"};

TEST_CASE("bench's json is one array of rows with llama-bench's keys and ours") {
  std::vector<std::string> arguments = kBench;
  arguments.insert(arguments.end(), {"--output", "json"});
  const json rows = json::parse(output_of(arguments));
  REQUIRE(rows.size() == 10);  // two lengths under two rules and one decode, each at two depths
  for (const json& row : rows) {
    for (const char* key : {"n_prompt", "n_gen", "n_depth", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts",
                            "sparse", "density", "sparsity", "attn_ns", "gate_ns", "model_type", "model_size",
                            "model_n_params", "backends", "n_threads"}) {
      INFO(key);
      CHECK(row.contains(key));
    }
    REQUIRE(row["samples_ns"].size() == 2);
    const double mean = (row["samples_ns"][0].get<double>() + row["samples_ns"][1].get<double>()) / 2.0;
    CHECK(row["avg_ns"].get<double>() == Approx(mean).margin(1.0));
    CHECK(row["model_n_params"] == 5770496);
  }
  CHECK(rows[0]["n_prompt"] == 128);
  CHECK(rows[0]["density"] == 1.0);
  CHECK(rows[0]["gate_ns"] == 0);
  CHECK(rows[0]["activations"] == "f32");
  CHECK(rows[1]["sparse"] == "threshold=0.3");
  CHECK(rows[1]["gate_ns"] > 0);
  CHECK(rows[3]["n_prompt"] == 256);
  CHECK(rows[3]["density"] < 1.0);
  CHECK(rows[3]["density"].get<double>() + rows[3]["sparsity"].get<double>() == Approx(1.0));
  CHECK(rows[4]["n_gen"] == 4);
  CHECK(rows[9]["n_gen"] == 4);
  CHECK(rows[9]["n_depth"] == 64);
  CHECK(rows[8]["n_prompt"] == 256);
  CHECK(rows[8]["n_depth"] == 64);
  CHECK(rows[8]["speedup"].get<double>() ==
        Approx(rows[7]["avg_ns"].get<double>() / rows[8]["avg_ns"].get<double>()).epsilon(1e-3));
}

// 256 tokens after 512, with pages of 64. Dense uses everything that is cached. A threshold and a ratio of
// rows compute the two rows again that were dense. A ratio of the prompt computes everything again.
TEST_CASE("bench counts the tokens that were computed, and its rates are of these") {
  std::vector<std::string> arguments = {"bench",
                                        "-g",
                                        testing::demo_gates_dir(),
                                        "-p",
                                        "256",
                                        "-n",
                                        "2",
                                        "-d",
                                        "0,512",
                                        "-r",
                                        "1",
                                        "--no-warmup",
                                        "--sparse",
                                        "dense,threshold=0.3,nz_ratio=0.2,nz_ratio_row=0.2"};
  arguments.insert(arguments.end(), {"--output", "json"});
  const json rows = json::parse(output_of(arguments));
  REQUIRE(rows.size() == 10);
  for (size_t i = 0; i < 4; ++i) CHECK(rows[i]["n_computed"] == 256);
  CHECK(rows[4]["n_computed"] == 0);  // decoding
  const int64_t expected[] = {256, 256 + 2 * 64, 512 + 256, 256 + 2 * 64};
  for (size_t i = 0; i < 4; ++i) {
    const json& row = rows[5 + i];
    INFO(row["sparse"]);
    CHECK(row["n_prompt"] == 256);
    CHECK(row["n_depth"] == 512);
    CHECK(row["n_computed"] == expected[i]);
    CHECK(row["avg_ts"].get<double>() ==
          Approx(static_cast<double>(expected[i]) * 1e9 / row["avg_ns"].get<double>()).epsilon(1e-3));
  }
  arguments.back() = "md";
  const std::string table = output_of(arguments);
  CHECK_THAT(table, ContainsSubstring("| computed |"));
  CHECK_THAT(table, ContainsSubstring("|    pp256 @ d512 |      768 |"));
  CHECK_THAT(table, ContainsSubstring("|    pp256 @ d512 |      384 |"));
}

TEST_CASE("bench's rows read the same as a table, as csv and as json lines", "[long]") {
  const auto output = [](const std::string& format) {
    std::vector<std::string> arguments = kBench;
    arguments.insert(arguments.end(), {"--output", format});
    return output_of(arguments);
  };
  const std::string table = output("md");
  CHECK(table.starts_with("| model "));
  for (const char* text : {"t/s |", "pp128", "pp256", "pp256 @ d64", "tg4", "tg4 @ d64", "threshold=0.3",
                           "attn ms", "gate ms", "CPU"})
    CHECK_THAT(table, ContainsSubstring(text));
  CHECK(std::count(table.begin(), table.end(), '\n') == 12);
  const std::string csv = output("csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 11);
  CHECK_THAT(csv, ContainsSubstring("n_prompt,n_gen,n_depth"));
  const std::string lines = output("jsonl");
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 10);
  CHECK(json::parse(lines.substr(0, lines.find('\n')))["n_prompt"] == 128);
}

TEST_CASE("bench runs dense first, and a prompt with what is generated after it as one test") {
  const json rows = json::parse(
      output_of({"bench", "-g", testing::demo_gates_dir(), "-p", "0", "-n", "0", "--pg", "128,4", "--depth",
                 "64", "-r", "1", "--no-warmup", "--sparse", "threshold=0.3,dense", "--output", "json"}));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["sparse"] == "dense");
  CHECK(rows[0]["n_prompt"] == 128);
  CHECK(rows[0]["n_gen"] == 4);
  CHECK(rows[0]["n_depth"] == 64);
  CHECK(rows[0]["avg_ts"].get<double>() == Approx(132e9 / rows[0]["avg_ns"].get<double>()).epsilon(1e-3));
  CHECK(rows[1]["speedup"] > 0.0);
  for (const char* wrong : {"128", "128,", "0,4", "128,4,5", "1-2,4"}) {
    INFO(wrong);
    CHECK_THAT(check_fails({"bench", "-m", testing::demo_model_dir(), "--pg", wrong}, 2),
               ContainsSubstring("--pg"));
  }
}

TEST_CASE("bench measures a shape without its weights, gates included") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "shape.json").string();
  json shape = json::parse(testing::read_file(testing::demo_model() / "gates" / "config.json"));
  shape["num_hidden_layers"] = 2;
  shape["seerattn_sparsity_method"] = "nz_ratio";
  shape["seerattn_nz_ratio"] = 0.2;
  testing::write_file(file, shape.dump());
  const auto bench = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"bench", "--config", file, "-p", "1024", "-n", "2", "-r", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const Outcome run = run_seer(bench({"--random-weights", "--output", "json"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const json rows = json::parse(run.out);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0]["density"] == 1.0);
  CHECK(rows[1]["sparse"] == "nz_ratio=0.2");
  CHECK(rows[1]["density"] < 0.7);
  CHECK(rows[2]["device_ns"] > 0);
  CHECK_THAT(check_fails(bench({}), 2), ContainsSubstring("--random-weights"));
  CHECK_THAT(check_fails(bench({"--random-weights", "-m", testing::demo_model_dir()}), 2),
             ContainsSubstring("leave them out"));
}

TEST_CASE("bench reads its tokens from a text and repeats it if it is short") {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "text.txt", "The sea was calm. ");
  const std::string file = (dir.path() / "text.txt").string();
  const json rows =
      json::parse(output_of({"bench", "-f", file, "-p", "100", "-n", "0", "-r", "1", "--output", "json"}));
  CHECK(rows.size() == 1);
  CHECK(rows[0]["n_prompt"] == 100);
}

TEST_CASE("perplexity is exp of the mean loss, rules side by side") {
  std::string text;
  for (int i = 0; i < 80; ++i) text += "The old captain looked at the sea and said nothing for a long time. ";
  const json rows =
      json::parse(output_of({"perplexity", "-q", "-g", testing::demo_gates_dir(), "--window", "256",
                             "--sparse", "dense,threshold=0.002,threshold=0.9", "--output", "json"},
                            text));
  REQUIRE(rows.size() == 3);
  const double dense = rows[0]["perplexity"];
  CHECK(dense > 1.0);
  CHECK(dense < 20.0);  // the text repeats itself
  CHECK(rows[1]["perplexity"].get<double>() == Approx(dense).epsilon(0.05));
  CHECK(rows[2]["density"] < rows[1]["density"]);
  CHECK_THAT(check_fails({"perplexity", "-m", testing::demo_model_dir(), "-p", "short", "--window", "99"}, 2),
             ContainsSubstring("--window"));
}

TEST_CASE("perplexity shows figures and what is left after each window, and the error of a ratio") {
  std::string text;
  for (int i = 0; i < 80; ++i)
    text += "The captain " + std::to_string(i * i) + " looked at the sea and said nothing for a time. ";
  RunOptions options;
  options.input = text;
  const Outcome run =
      run_seer({"perplexity", "-m", testing::demo_model_dir(), "-g", testing::demo_gates_dir(), "--window",
                "512", "--max-windows", "2", "--sparse", "dense,threshold=0.1", "--output", "json"},
               options);
  REQUIRE(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("seer: [1/2] dense "));
  CHECK_THAT(run.err, ContainsSubstring(", threshold=0.1 "));
  CHECK_THAT(run.err, ContainsSubstring(" a window, ETA "));
  CHECK_THAT(run.err, ContainsSubstring("seer: [2/2] dense "));
  const json rows = json::parse(run.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["n_windows"] == 2);
  CHECK(rows[0]["ratio"] == 1.0);
  CHECK(rows[0]["ratio_error"] == 0.0);
  // Both have the same tokens, so the ratio is known far better than either perplexity.
  CHECK(rows[1]["ratio_error"] > 0.0);
  CHECK(rows[1]["ratio_error"].get<double>() <
        rows[1]["perplexity_error"].get<double>() / rows[1]["perplexity"].get<double>());
}

TEST_CASE("perplexity in windows of 4096 loses by sparsity what the demo model's report says", "[long]") {
  const auto novel = testing::test_data("texts/treasure-island.txt");
  if (!novel) return;
  const json report = json::parse(testing::read_file(testing::demo_model() / "report.json"));
  const json rows = json::parse(
      output_of({"perplexity", "-q", "-g", testing::demo_gates_dir(), "-f", novel->string(), "--window",
                 "4096", "--max-windows", "2", "--sparse", "dense,threshold=0.01", "--output", "json"}));
  const json& dense = report["ppl L=4096 dense"];
  const json& sparse = report["ppl L=4096 threshold 0.01"];
  const double expected = sparse["ppl"].get<double>() / dense["ppl"].get<double>();
  CHECK(rows[1]["ratio"].get<double>() == Approx(expected).epsilon(0.005));
  CHECK(rows[1]["density"].get<double>() == Approx(sparse["density"].get<double>()).epsilon(0.1));
}

TEST_CASE("inspect shows the attention window, and what of config.json may surprise, a line each") {
  const testing::TempDir dir;
  const std::filesystem::path model = testing::demo_model_dir();
  std::filesystem::create_symlink(model / "model.safetensors", dir.path() / "model.safetensors");
  json config = json::parse(testing::read_file(model / "config.json"));
  config["architectures"] = {"MistralForCausalLM"};
  config["model_type"] = "mistral";
  config.erase("max_position_embeddings");
  testing::write_file(dir.path() / "config.json", config.dump());
  const std::string path = dir.path().string();
  const json summary = json::parse(run_seer({"inspect", "-m", path, "--output", "json"}).out);
  CHECK(summary["model"]["window"] == 4096);
  CHECK(summary["model"]["config_notes"].size() == 2);
  CHECK(summary["engine"]["ctx_size"] == 4096);
  const std::string text = run_seer({"inspect", "-m", path}).out;
  CHECK_THAT(text,
             ContainsSubstring("window             4096\n") &&
                 ContainsSubstring("  config_notes       max_position_embeddings is absent: it is 131072") &&
                 ContainsSubstring("  config_notes       sliding_window is absent: it is 4096"));
  CHECK_THAT(check_fails({"inspect", "-m", path, "-c", "4097"}, 2), ContainsSubstring("Use -c 4096 or less"));
}

TEST_CASE("inspect describes model, tokenizer, cache and gates") {
  const json summary =
      json::parse(output_of({"inspect", "-g", testing::demo_gates_dir(), "--output", "json"}));
  CHECK(summary["model"]["n_params"] == 5770496);
  CHECK(summary["model"]["n_kv_heads"] == 2);
  CHECK(summary["model"]["tied_embeddings"] == true);
  CHECK(summary["tokenizer"]["kind"] == "sentencepiece");
  CHECK(summary["tokenizer"]["normalizer"] == "the model's own");
  CHECK(summary["tokenizer"]["n_special_tokens"] == 3);
  CHECK(summary["tokenizer"]["adds_bos"] == true);
  CHECK_FALSE(summary["tokenizer"].contains("note"));
  CHECK(summary["gates"]["gate_type"] == "Qavg_Kmaxminavg");
  CHECK(summary["gates"]["default_rule"] == "threshold=0.002");
  CHECK(summary["engine"]["page_tokens"] == 64);
  CHECK(summary["engine"]["activations"] == "f32");
  CHECK(summary["model"]["window"].is_null());
  CHECK(summary["model"]["config_notes"] == json::array());
  const std::string text = output_of({"inspect"});
  CHECK_THAT(text, ContainsSubstring("window             none\n") && !ContainsSubstring("config_notes"));
  for (const char* line : {"model\n", "n_layers           6\n", "tokenizer\n", "gates\n  none\n"})
    CHECK_THAT(text, ContainsSubstring(line));
  CHECK_THAT(check_fails({"inspect", "-m", testing::demo_model_dir(), "-p", "x"}, 2),
             ContainsSubstring("--dump"));
  CHECK_THAT(check_fails({"inspect", "-m", testing::demo_model_dir(), "--logits-last", "2"}, 2),
             ContainsSubstring("need a prompt"));
}

}  // namespace
}  // namespace seer
