// seer distill as a user runs it.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;
using Words = std::vector<std::string>;

// Sentences of no meaning, some ten tokens each.
std::string sentences(int n, int seed) {
  static const char* const kWords[] = {"the captain", "looked at",      "a garden",
                                       "and the sea", "of his brother", "in the dark",
                                       "a letter",    "never saw",      "the old house"};
  std::string text;
  auto state = static_cast<unsigned>(seed);
  for (int i = 0; i < n; ++i) {
    for (int word = 0; word < 4; ++word) {
      state = state * 1103515245U + 12345U;
      text += std::string(kWords[(state >> 16U) % 9]) + (word == 3 ? ".\n" : " ");
    }
  }
  return text;
}

class Texts {
 public:
  Texts() {
    fs::create_directories(dir_.path() / "texts" / "more");
    testing::write_file(dir_.path() / "texts" / "a.txt", sentences(200, 1));
    testing::write_file(dir_.path() / "texts" / "more" / "b.jsonl",
                        json{{"text", sentences(100, 2)}}.dump() + "\n\n" +
                            json{{"text", sentences(100, 3)}, {"url", "none"}}.dump() + "\n");
    testing::write_file(dir_.path() / "texts" / "ignored.bin", "\xff\xfe");
    testing::write_file(dir_.path() / "held.ids", held_ids());
  }
  std::string path(const char* name) const { return (dir_.path() / name).string(); }
  Words command(const Words& more) const {
    Words words = {"distill",   "-m",          testing::demo_model_dir(),
                   "-f",        path("texts"), "-o",
                   path("out"), "--window",    "256",
                   "--batch",   "1",           "--steps",
                   "3",         "-t",          "2"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

 private:
  static std::string held_ids() {
    std::string ids;
    for (int i = 0; i < 600; ++i) ids += std::to_string(i * 37 % 4096) + " ";
    return ids;
  }
  testing::TempDir dir_;
};

TEST_CASE("distill writes gates that the other commands take") {
  const Texts texts;
  const Outcome run =
      run_seer(texts.command({"--held-out", texts.path("held.ids"), "--pth", "--output", "jsonl"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("step 3/3: loss "));
  CHECK_THAT(run.err, ContainsSubstring("in 2 windows"));
  const json first = json::parse(run.out.substr(0, run.out.find('\n')));
  CHECK(first["rule"] == "threshold=0.001");
  CHECK(first["density"].get<double>() > 0.0);
  CHECK(fs::exists(texts.path("out/attn_gate_weights.pth")));
  CHECK(!fs::exists(texts.path("out/checkpoint.safetensors")));
  const Outcome used = run_seer({"perplexity", "-q", "-m", testing::demo_model_dir(), "-g", texts.path("out"),
                                 "-f", texts.path("texts/a.txt"), "--window", "512", "--max-windows", "1",
                                 "--sparse", "threshold=0.002"});
  INFO(used.err);
  CHECK(used.code == 0);
}

TEST_CASE("distill makes gates for decoding, and measures them at the end of the texts") {
  const Texts texts;
  const Outcome run = run_seer(texts.command({"--kind", "decode", "--gate-type", "Qavgproj_Kmaxavg",
                                              "--block-size", "16", "--row-stride", "2", "--clip", "layer"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK_THAT(run.out, ContainsSubstring("best 0.1"));
  const json config = json::parse(testing::read_file(texts.path("out/config.json")));
  CHECK(config["seerattn_q_head_pooling_type"] == "Qavgproj");
  CHECK(config["seerattn_k_seq_pooling_type"] == "Kmaxavg");
  const Outcome inspected = run_seer({"inspect", "-m", testing::demo_model_dir(), "-g", texts.path("out")});
  CHECK_THAT(inspected.out, ContainsSubstring("Qavgproj_Kmaxavg"));
}

TEST_CASE("Ctrl-C writes a checkpoint, which survives a full disk, and --resume gives the same bits") {
  const Texts texts;
  const Words long_run = {"--steps", "40", "--checkpoint-steps", "1"};
  RunOptions interrupt;
  interrupt.interrupt_at = "step 2/40";
  const Outcome stopped = run_seer(texts.command(long_run), interrupt);
  INFO(stopped.err);
  REQUIRE(stopped.code == 130);
  CHECK_THAT(stopped.err, ContainsSubstring("--resume goes on"));
  const std::string checkpoint = testing::read_file(texts.path("out/checkpoint.safetensors"));

  Words resume = texts.command(long_run);
  resume.push_back("--resume");
  RunOptions full;
  full.file_size_limit = 200000;
  Words quiet = resume;
  quiet.push_back("-q");
  const std::string message = check_fails(quiet, 1, full);
  CHECK_THAT(message, ContainsSubstring("cannot write"));
  CHECK_THAT(message, ContainsSubstring("the file that was there before is left as it was"));
  CHECK((testing::read_file(texts.path("out/checkpoint.safetensors")) == checkpoint));

  REQUIRE(run_seer(resume).code == 0);
  const std::string resumed = testing::read_file(texts.path("out/attn_gate_weights.safetensors"));
  fs::remove_all(texts.path("out"));
  REQUIRE(run_seer(texts.command({"--steps", "40", "-q"})).code == 0);
  CHECK((testing::read_file(texts.path("out/attn_gate_weights.safetensors")) == resumed));
}

TEST_CASE(
    "Ctrl-C with --tp 2 writes a checkpoint, from which --resume goes on, and a loss that is no number "
    "ends") {
  const Texts texts;
  const Words ranks = {"--tp", "2", "--kind", "decode", "--row-stride", "4", "--steps", "6"};
  RunOptions interrupt;
  interrupt.interrupt_at = "step 2/6";
  const Outcome stopped = run_seer(texts.command(ranks), interrupt);
  INFO(stopped.err);
  REQUIRE(stopped.code == 130);
  CHECK_THAT(stopped.err, ContainsSubstring(", 2 ranks, windows of 256 tokens"));
  Words resume = texts.command(ranks);
  resume.push_back("--resume");
  REQUIRE(run_seer(resume).code == 0);
  const std::string resumed = testing::read_file(texts.path("out/attn_gate_weights.safetensors"));
  fs::remove_all(texts.path("out"));
  REQUIRE(run_seer(texts.command(ranks)).code == 0);
  CHECK((testing::read_file(texts.path("out/attn_gate_weights.safetensors")) == resumed));
  fs::remove_all(texts.path("out"));
  CHECK_THAT(check_fails(texts.command({"-q", "--tp", "2", "--lr", "1e38"}), 1),
             ContainsSubstring("step 2: layer 0: the loss is not a finite number"));
}

TEST_CASE("distill refuses what it cannot train, by name") {
  const Texts texts;
  const auto usage = [&](const Words& words) { return check_fails(words, 2); };
  const std::string model = testing::demo_model_dir(), a = texts.path("texts/a.txt");
  CHECK_THAT(usage({"distill", "-m", model, "-o", "x"}), ContainsSubstring("no text: give -f PATH"));
  CHECK_THAT(usage({"distill", "-m", model, "-f", a}), ContainsSubstring("no folder for the gates"));
  CHECK_THAT(usage({"distill", "-m", model, "-f", a, "-o", texts.path("x")}),
             ContainsSubstring("expected at least one window of 16384 tokens"));
  CHECK_THAT(usage(texts.command({"--gate-type", "Qnone_Kavg"})), ContainsSubstring("Qnone_Kavg"));
  CHECK_THAT(usage(texts.command({"--hidden-size", "32"})), ContainsSubstring("seerattn_gate_hidden_size"));
  CHECK_THAT(usage(texts.command({"--no-norms"})), ContainsSubstring("--kind decode"));
  CHECK_THAT(usage(texts.command({"--look-ups", "1.5"})),
             ContainsSubstring("look-ups: expected a share between 0 and 1, found 1.5"));
  CHECK_THAT(usage(texts.command({"--kind", "decode", "--force-double"})),
             ContainsSubstring("--force-double"));
  testing::write_file(texts.path("empty.txt"), "");
  CHECK_THAT(usage({"distill", "-m", model, "-f", texts.path("empty.txt"), "-o", texts.path("x"), "--window",
                    "256"}),
             ContainsSubstring("no text to learn from"));
  fs::create_directories(texts.path("nothing"));
  CHECK_THAT(usage({"distill", "-m", model, "-f", texts.path("nothing"), "-o", texts.path("x")}),
             ContainsSubstring("found none"));
  testing::write_file(texts.path("bad.jsonl"), "{\"text\": \"a\"}\n{\"words\": 1}\n");
  CHECK_THAT(check_fails({"distill", "-m", model, "-f", texts.path("bad.jsonl"), "-o", texts.path("x")}, 3),
             ContainsSubstring("line 2"));
  CHECK_THAT(check_fails({"distill", "-m", model, "-f", texts.path("none.txt"), "-o", texts.path("x")}, 3),
             ContainsSubstring("none.txt"));
  CHECK_THAT(usage(texts.command({"--cp", "2"})), ContainsSubstring("--cp"));
  CHECK_THAT(check_fails(texts.command({"--tp", "3"}), 3),
             ContainsSubstring("4 attention heads with 2 KV heads cannot be split among 3 ranks"));
  CHECK_THAT(check_fails(texts.command({"-q", "--lr", "1e38"}), 1),
             ContainsSubstring("step 2: layer 0: the loss is not a finite number"));
}

}  // namespace
}  // namespace seer
