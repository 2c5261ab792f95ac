// Gates for decoding on the command line. The goldens are outputs of the official gate code.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "seer/sparse.h"
#include "tests/support/catch.h"
#include "tests/support/decode_goldens.h"
#include "tests/support/safetensors_file.h"
#include "tests/support/test_data.h"
#include "tests/tools/decode_gates.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::check_fails;
using testing::DecodeGolden;
using testing::DecodeGoldenRule;
using testing::Outcome;
using testing::run_seer;
using testing::SafetensorsFile;
using Words = std::vector<std::string>;

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += std::to_string(id) + "\n";
  return text;
}

std::string rule_text(const DecodeGoldenRule& rule) {
  using Method = SparseDecodeRule::Method;
  const bool threshold = rule.rule.method == DecodeRule::Method::kThreshold;
  return SparseDecodeRule{threshold ? Method::kThreshold : Method::kBudget, rule.rule.value}.to_string();
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

SafetensorsFile decode_dump(const DecodeGolden& golden, const std::string& gates, const std::string& rule,
                            const std::string& chunk_size) {
  const testing::TempDir dir;
  const std::string path = (dir.path() / "dump.safetensors").string();
  testing::RunOptions options;
  options.input = ids_text(golden.input_ids);
  const Outcome run = run_seer(
      {"inspect", "-m", golden.model_dir, "-g", gates, "--sparse-decode", rule, "--chunk-size", chunk_size,
       "--tokens-file", "-", "--prompt-tokens", std::to_string(golden.n_prompt), "--dump", path},
      options);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return SafetensorsFile(path);
}

void check_decode_rule(const DecodeGolden& golden, const DecodeGoldenRule& rule,
                       const std::string& chunk_size) {
  const SafetensorsFile file = decode_dump(golden, golden.gates_dir, rule_text(rule), chunk_size);
  CHECK(file.get<int32_t>("input_ids") == golden.input_ids);
  CHECK(worst_difference(file.get<float>("decode.logits"), rule.logits) < 1e-3);
  CHECK(file.shape("decode.logits") == std::vector<int64_t>{golden.n_steps, golden.n_vocab});
  const std::vector<int64_t> shape = {golden.n_steps, golden.n_kv_heads, golden.n_blocks};
  for (int64_t l = 0; l < golden.n_layers; ++l) {
    INFO("layer " << l);
    const std::string layer = "." + std::to_string(l);
    CHECK(file.shape("decode.score" + layer) == shape);
    CHECK(file.shape("decode.mask" + layer) == shape);
    CHECK(worst_difference(file.get<float>("decode.score" + layer), rule.scores.at(l)) < 1e-5);
    CHECK(worst_difference(file.get<float>("decode.gate_key" + layer), rule.gate_keys.at(l)) < 1e-4);
    const auto mask = file.get<uint8_t>("decode.mask" + layer);
    const int64_t n_row = golden.n_kv_heads * golden.n_blocks;
    for (int64_t s = 0; s < golden.n_steps; ++s) {
      const std::vector<uint8_t> row(mask.begin() + s * n_row, mask.begin() + (s + 1) * n_row);
      CHECK(golden.count_mask_errors(rule, l, s, row, 1e-5) == 0);
    }
  }
  CHECK(std::stod(file.header()["__metadata__"]["density_decode"].get<std::string>()) ==
        Approx(rule.density).epsilon(1e-9));
}

TEST_CASE("dumps of decoded tokens equal the official gate code's, under both rules") {
  for (const char* name : {"r-qwen3", "r-llama", "r-ragged"}) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    for (const DecodeGoldenRule& rule : golden->rules) {
      INFO(name << ", " << rule.name);
      check_decode_rule(*golden, rule, &rule == &golden->rules.front() ? "64" : "0");
    }
    const SafetensorsFile dense = decode_dump(*golden, golden->gates_dir, "dense", "0");
    const auto first = golden->dense_logits.begin() + golden->n_vocab;
    CHECK(worst_difference(dense.get<float>("decode.logits"), {first, golden->dense_logits.end()}) < 1e-3);
    CHECK(worst_difference(dense.get<float>("logits"), {golden->dense_logits.begin(), first}) < 1e-3);
    CHECK(dense.has("decode.gate_key.0"));
    CHECK(!dense.has("decode.mask.0"));
  }
}

// The demo model with gates for decoding whose first two layers attend to everything.
class DemoWithGates {
 public:
  DemoWithGates() { testing::write_decode_gates(gates(), {64, 2, "token_budget", 128}); }

  fs::path gates() const { return dir_.path() / "decode"; }
  std::string file(const char* name) const { return (dir_.path() / name).string(); }
  // Returns the arguments of a command with a prompt of 500 ids.
  Words command(const char* name, const Words& more) const {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 500; ++i) ids.push_back(i * 7919 % 4096);
    testing::write_file(dir_.path() / "ids", ids_text(ids));
    Words words = {name, "-q", "-m", testing::demo_model_dir(), "--tokens-file", file("ids")};
    if (words[0] == "inspect") words.erase(words.begin() + 1);
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  Words with_gates(const char* name, Words more) const {
    more.insert(more.begin(), {"-g", gates().string()});
    return command(name, more);
  }

 private:
  testing::TempDir dir_;
};

Outcome done_by(const Words& words) {
  Outcome run = run_seer(words);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return run;
}

TEST_CASE(
    "layers before the gates' first keep every block up to a token's own in a dump, and have no scores") {
  const DemoWithGates demo;
  done_by(demo.with_gates("inspect", {"--prompt-tokens", "440", "--dump", demo.file("dump")}));
  const SafetensorsFile file(demo.file("dump"));
  CHECK(file.header()["__metadata__"]["rule_decode"] == "budget=128");
  CHECK(!file.has("decode.score.1"));
  CHECK(file.has("decode.score.2"));
  CHECK(file.shape("decode.mask.1") == std::vector<int64_t>{60, 2, 8});
  CHECK(file.shape("decode.gate_key.5") == std::vector<int64_t>{7, 2, 64});
  const auto all = file.get<uint8_t>("decode.mask.1"), some = file.get<uint8_t>("decode.mask.2");
  for (size_t s = 0; s < 60; ++s) {
    const size_t n = (440 + s) / 64 + 1;  // 7 blocks, then 8 from token 448 on
    for (size_t h = 0; h < 2; ++h) {
      const auto row = static_cast<std::ptrdiff_t>((s * 2 + h) * 8);
      CHECK(std::count(all.begin() + row, all.begin() + row + 8, 1) == static_cast<int64_t>(n));
      CHECK(all[static_cast<size_t>(row) + n - 1] == 1);
      const auto n_kept = std::count(some.begin() + row, some.begin() + row + 8, 1);
      CHECK((n_kept >= 2 && n_kept <= 4));  // two blocks, the first and the token's own
    }
  }
}

TEST_CASE("inspect counts and draws what gates choose for decoded tokens") {
  const DemoWithGates demo;
  const std::string maps = demo.file("maps");
  const Outcome text = done_by(demo.with_gates("inspect", {"--prompt-tokens", "440", "--maps", maps}));
  CHECK_THAT(text.out, ContainsSubstring("60 tokens decoded after 440 in 8 blocks, budget=128, density "));
  CHECK_THAT(text.out,
             ContainsSubstring("  layer     all    kv0    kv1\n      0   dense\n      1   dense\n"));
  CHECK_THAT(text.err, ContainsSubstring("4 pictures"));
  CHECK(fs::exists(fs::path(maps) / "decode-layer-02.png"));
  CHECK(!fs::exists(fs::path(maps) / "decode-layer-01.png"));
  const json summary = json::parse(
      done_by(demo.with_gates("inspect", {"--prompt-tokens", "440", "--sparse-decode", "ratio=0.25", "-g",
                                          testing::demo_gates_dir(), "--output", "json"}))
          .out);
  CHECK(summary["n_tokens"] == 440);
  CHECK(summary["sparse"] == "threshold=0.002");  // gates for prompts choose for the prompt
  const json& decode = summary["decode"];
  CHECK(decode["n_decoded"] == 60);
  CHECK(decode["sparse_decode"] == "ratio=0.25");
  CHECK(decode["density"] < 0.6);
  CHECK(decode["layers"][0]["density"] == 1.0);
  double sum = 0.0;
  for (size_t layer = 2; layer < 6; ++layer) sum += decode["layers"][layer]["density"].get<double>();
  CHECK(sum / 4 == Approx(decode["density"].get<double>()).epsilon(1e-9));
}

TEST_CASE("a model with gates of both kinds is described, whether they come in two folders or in one") {
  const DemoWithGates demo;
  const Words two = {"inspect",
                     "-m",
                     testing::demo_model_dir(),
                     "-g",
                     demo.gates().string(),
                     "-g",
                     testing::demo_gates_dir()};
  const std::string text = done_by(two).out;
  CHECK_THAT(text, ContainsSubstring("start_layer        2"));
  CHECK_THAT(text, ContainsSubstring("default_rule       budget=128"));
  CHECK_THAT(text, ContainsSubstring("default_rule       threshold=0.002"));
  fs::copy(testing::demo_gates_dir(), demo.gates().parent_path() / "prefill", fs::copy_options::recursive);
  const json one = json::parse(done_by({"inspect", "-m", testing::demo_model_dir(), "-g",
                                        demo.gates().parent_path().string(), "--output", "json"})
                                   .out);
  CHECK(one["gates"]["default_rule"] == "threshold=0.002");
  CHECK(one["decode_gates"]["gate_type"] == "Qproj_Kmaxminavg");
  CHECK(one["decode_gates"]["gate_block"] == 64);
  CHECK(one["decode_gates"]["norms"] == false);
  const json none =
      json::parse(done_by({"inspect", "-m", testing::demo_model_dir(), "--output", "json"}).out);
  CHECK(none["decode_gates"].is_null());
}

TEST_CASE("the closing lines of generate and chat say the density of decodes if gates chose") {
  const DemoWithGates demo;
  const auto generate = [&](const char* rule) {
    Words words = demo.with_gates("generate", {"-n", "9", "--ignore-eos", "--sparse-decode", rule});
    words.erase(words.begin() + 1);  // -q
    return done_by(words).err;
  };
  CHECK_THAT(generate("budget=64"), ContainsSubstring("density 100.0% (dense), decode density "));
  CHECK_THAT(generate("budget=64"), ContainsSubstring("% (budget=64), stopped at -n"));
  CHECK_THAT(generate("dense"), ContainsSubstring("density 100.0% (dense), stopped at -n"));
  testing::RunOptions options;
  options.input = "Once\n/stats\n/sparse-decode dense\nThen\n/stats\n";
  const Outcome chat = run_seer({"chat", "-m", testing::demo_model_dir(), "-g", demo.gates().string(), "-n",
                                 "4", "--chat-template", "none", "--temp", "0"},
                                options);
  INFO(chat.err);
  REQUIRE(chat.code == 0);
  CHECK_THAT(chat.err, ContainsSubstring("decode density 100.0% (budget=128)"));
  CHECK_THAT(chat.err, ContainsSubstring("answers are decoded by dense"));
  CHECK(chat.err.find("decode density") == chat.err.rfind("decode density"));
}

TEST_CASE("perplexity of decoded tokens: dense decodes give the prefill's, and each rule has a row") {
  const DemoWithGates demo;
  const auto rows = [&](Words more) {
    more.insert(more.begin(), {"--window", "400", "--output", "json"});
    return json::parse(done_by(demo.with_gates("perplexity", more)).out);
  };
  const json decoded = rows({"--decode-tokens", "60"});
  REQUIRE(decoded.size() == 2);
  CHECK(decoded[0]["sparse_decode"] == "dense");
  CHECK(decoded[0]["decode_density"] == 1.0);
  CHECK(decoded[0]["n_decoded"] == 60);
  CHECK(decoded[1]["sparse_decode"] == "budget=128");
  CHECK(decoded[1]["decode_density"] < 0.7);
  CHECK(decoded[1]["ratio"] != 1.0);
  // If all of a window but its first token is decoded densely, the loss is that of a prefill.
  const json whole = rows({"--decode-tokens", "399", "--sparse-decode", "dense,ratio=1"});
  CHECK(whole[1]["ratio"].get<double>() == Approx(1.0).epsilon(1e-6));
  CHECK(whole[1]["decode_density"] == 1.0);
  // One token may be all that is decoded.
  CHECK(rows({"--decode-tokens", "1", "--sparse-decode", "budget=64"})[0]["decode_density"] < 0.7);
  const json prefill = rows({});
  CHECK(prefill.size() == 1);
  CHECK(!prefill[0].contains("decode_density"));
  CHECK(whole[0]["perplexity"].get<double>() == Approx(prefill[0]["perplexity"].get<double>()).epsilon(0.05));
}

TEST_CASE("bench has a row for each rule of decoding, of random weights too") {
  const testing::TempDir dir;
  json config = json::parse(testing::read_file(testing::demo_model() / "model" / "config.json"));
  config.update({{"seerattn_k_seq_pooling_type", "Kmaxminavg"},
                 {"seerattn_q_head_pooling_type", "Qproj"},
                 {"seerattn_gate_hidden_size", 64},
                 {"seerattn_sparsity_method", "token_budget"},
                 {"seerattn_token_budget", 128}});
  const std::string path = (dir.path() / "config.json").string();
  testing::write_file(path, config.dump());
  const json rows = json::parse(
      done_by({"bench", "--random-weights", "--config", path, "-p", "128", "-n", "4", "-d", "512", "--pg",
               "128,4", "-r", "1", "--no-warmup", "--output", "json", "--sparse-decode", "ratio=0.3,dense"})
          .out);
  REQUIRE(rows.size() == 5);  // pp, then tg and pp+tg under both rules, dense first
  CHECK(rows[0]["decode_density"].is_null());
  for (const size_t i : {1U, 3U}) {
    CHECK(rows[i]["sparse_decode"] == "dense");
    CHECK(rows[i]["decode_density"] == 1.0);
    CHECK(rows[i]["speedup"] == 1.0);
    CHECK(rows[i + 1]["sparse_decode"] == "ratio=0.3");
    CHECK(rows[i + 1]["decode_density"] < 0.6);
    CHECK(rows[i + 1]["speedup"] > 0.0);
  }
}

TEST_CASE("gates and rules for decoding that do not fit are refused with the reason") {
  const DemoWithGates demo;
  const std::string gates = demo.gates().string(), prompts = testing::demo_gates_dir();
  const auto refused = [&](int code, Words more, const std::string& reason) {
    CHECK_THAT(check_fails(demo.command("generate", more), code), ContainsSubstring(reason));
  };
  refused(3, {"-g", gates, "-g", gates}, "expected one folder of gates for decoding, found a second one");
  refused(3, {"-g", prompts, "-g", prompts}, "expected one folder of gates for prompts, found a second one");
  refused(2, {"-g", gates, "-g", prompts, "-g", gates}, "found a third");
  refused(2, {"--sparse-decode", "budget=64"},
          "--sparse-decode budget=64 needs gates for decoding: give -g DIR");
  refused(2, {"-g", prompts, "--sparse-decode", "budget=64"}, "only gates for prompts were loaded");
  refused(2, {"-g", gates, "--sparse", "threshold=0.1"}, "only gates for decoding were loaded");
  refused(2, {"-g", gates, "--sparse-decode", "budget=63"},
          "at least one block of 64 tokens, found budget=63");
  for (const char* rule :
       {"budget=-64", "budget=0", "threshold=-1", "ratio=0", "ratio=", "nz_ratio=0.1", "half"})
    refused(2, {"-g", gates, "--sparse-decode", rule},
            "'" + std::string(rule) + "': expected dense, budget=N");
  testing::write_decode_gates(demo.file("small"), {32, 0, "token_budget", 256});
  refused(3, {"-g", prompts, "-g", demo.file("small")}, "blocks of different sizes");
  testing::write_decode_gates(demo.file("poor"), {64, 0, "token_budget", 63});
  refused(3, {"-g", demo.file("poor")}, "at least one block of 64 tokens");
}

TEST_CASE("prompts of inspect and windows of perplexity that leave nothing to decode are refused") {
  const DemoWithGates demo;
  const auto refused = [&](const char* command, Words more, const std::string& reason) {
    CHECK_THAT(check_fails(demo.with_gates(command, more), 2), ContainsSubstring(reason));
  };
  refused("inspect", {"--prompt-tokens", "500"}, "fewer than the 500 tokens that there are");
  refused("inspect", {"--prompt-tokens", "0"}, "expected 1 or more");
  refused("inspect", {"--prompt-tokens", "-1"}, "expected 1 or more");
  refused("inspect", {"--sparse-decode", "budget=64"}, "needs --prompt-tokens");
  refused("inspect", {"--prompt-tokens", "400", "--sparse-decode", "dense"}, "would run dense");
  refused("inspect", {"--prompt-tokens", "400", "--show", "0.0"},
          "--show draws what gates choose for a prompt");
  refused("perplexity", {"--window", "400", "--decode-tokens", "400"}, "fewer than the window's 400 tokens");
  refused("perplexity", {"--decode-tokens", "-1"}, "expected 0 or more");
  refused("perplexity", {"--sparse-decode", "budget=64"}, "needs --decode-tokens");
  CHECK_THAT(check_fails({"inspect", "-m", testing::demo_model_dir(), "--prompt-tokens", "5"}, 2),
             ContainsSubstring("need a prompt"));
}

}  // namespace
}  // namespace seer
