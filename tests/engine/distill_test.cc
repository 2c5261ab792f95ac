// Training of gates through the library's interface.
#include "seer/distill.h"

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "seer/tokenizer.h"
#include "tests/models/refusal.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::refusal;
using testing::TempDir;
using testing::TinyModel;

std::vector<int32_t> random_ids(size_t n, int64_t n_vocab, uint64_t seed) {
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids)
    id = static_cast<int32_t>((testing::next_random(&seed) + 1.0F) / 2.0F * static_cast<float>(n_vocab));
  return ids;
}

class Distilling {
 public:
  DistillOptions options(const char* out, GateKind kind = GateKind::kPrefill) const {
    DistillOptions o;
    o.model_dir = tiny_.path();
    o.out_dir = (dir_.path() / out).string();
    o.device = "cpu";
    o.kind = kind;
    o.block_size = 16;
    o.window = 128;
    o.batch = 2;
    o.steps = 4;
    o.learning_rate = 0.01;
    return o;
  }
  std::string weights(const char* out) const {
    return testing::read_file(dir_.path() / out / "attn_gate_weights.safetensors");
  }
  fs::path path(const char* out) const { return dir_.path() / out; }
  const std::vector<int32_t>& tokens() const { return tokens_; }

 private:
  TinyModel tiny_;
  TempDir dir_;
  std::vector<int32_t> tokens_ = random_ids(1500, 53, 9);
};

TEST_CASE("a run that was stopped and resumed gives the bits of an unbroken one") {
  for (const GateKind kind : {GateKind::kPrefill, GateKind::kDecode}) {
    const Distilling d;
    const DistillResult whole = distill(d.options("whole", kind), d.tokens(), {});
    CHECK(whole.n_done == 4);
    CHECK(!whole.stopped);

    DistillOptions options = d.options("parts", kind);
    options.threads = 1;
    int n_windows = 0;
    options.go_on = [&] { return ++n_windows <= 5; };  // in the middle of step 3
    const DistillResult first = distill(options, d.tokens(), {});
    CHECK(first.stopped);
    CHECK(first.n_done == 2);
    CHECK(fs::exists(d.path("parts") / "checkpoint.safetensors"));
    CHECK(!fs::exists(d.path("parts") / "config.json"));

    options.go_on = {};
    options.threads = 3;
    options.resume = true;
    std::vector<int64_t> steps;
    options.on_step = [&](const DistillStep& step) { steps.push_back(step.step); };
    CHECK(distill(options, d.tokens(), {}).n_done == 4);
    CHECK((steps == std::vector<int64_t>{3, 4}));
    CHECK((d.weights("parts") == d.weights("whole")));
    CHECK(!fs::exists(d.path("parts") / "checkpoint.safetensors"));
  }
}

TEST_CASE("a run of two ranks that was stopped and resumed on as many gives the bits of an unbroken one") {
  const Distilling d;
  for (const GateKind kind : {GateKind::kPrefill, GateKind::kDecode}) {
    const bool decode = kind == GateKind::kDecode;
    const char *whole = decode ? "whole-decode" : "whole", *parts = decode ? "parts-decode" : "parts";
    DistillOptions options = d.options(whole, kind);
    options.ranks = Ranks::start(2, {SEER_BINARY});
    const DistillResult result = distill(options, d.tokens(), random_ids(300, 53, 10));
    CHECK(result.n_done == 4);
    CHECK(result.n_held_out == 2);
    const DistillResult alone =
        distill(d.options(decode ? "one-decode" : "one", kind), d.tokens(), random_ids(300, 53, 10));
    CHECK(result.held_out_loss() == Approx(alone.held_out_loss()).epsilon(1e-3));

    options.out_dir = d.path(parts).string();  // the same ranks serve run after run
    int n_windows = 0;
    options.go_on = [&] { return ++n_windows <= 5; };  // in the middle of step 3
    CHECK(distill(options, d.tokens(), {}).n_done == 2);
    options.go_on = {};
    options.resume = true;
    DistillOptions of_one = options;
    of_one.ranks = nullptr;
    CHECK_THAT(refusal(ErrorKind::kUsage, [&] { distill(of_one, d.tokens(), {}); }),
               ContainsSubstring("expected ranks 1, found 2"));
    options.threads = 3;
    CHECK(distill(options, d.tokens(), {}).n_done == 4);
    CHECK((d.weights(parts) == d.weights(whole)));
  }
}

// Sentences for the demo model's tokenizer, of which look-ups are planted.
std::vector<int32_t> prose(const std::string& model_dir, int64_t n) {
  std::string text;
  for (int64_t i = 0; i < n; ++i) text += "The captain looked at the sea in the dark. It was a letter.\n";
  std::vector<int32_t> ids = Tokenizer::load(model_dir)->encode(text, false);
  REQUIRE(static_cast<int64_t>(ids.size()) >= n);
  ids.resize(static_cast<size_t>(n));
  return ids;
}

// Gates for decoding of the demo model, whose tokenizer look-ups need.
DistillOptions with_look_ups(const Distilling& d, const char* out, double share) {
  DistillOptions o = d.options(out, GateKind::kDecode);
  o.model_dir = (testing::demo_model() / "model").string();
  o.block_size = 64;
  o.window = 512;
  o.steps = 3;
  o.look_ups = share;
  return o;
}

TEST_CASE("a run with look-ups that was stopped and resumed gives the bits of an unbroken one") {
  const Distilling d;
  const std::vector<int32_t> tokens = prose(with_look_ups(d, "", 0.0).model_dir, 3000);
  const std::shared_ptr<Ranks> two = Ranks::start(2, {SEER_BINARY});
  for (const auto& ranks : {std::shared_ptr<Ranks>(), two}) {
    const char *whole_dir = ranks ? "whole-2" : "whole", *parts_dir = ranks ? "parts-2" : "parts";
    INFO(whole_dir);
    DistillOptions whole = with_look_ups(d, whole_dir, 0.75), parts = with_look_ups(d, parts_dir, 0.75);
    whole.ranks = parts.ranks = ranks;
    CHECK(distill(whole, tokens, {}).n_done == 3);
    int n_windows = 0;
    parts.go_on = [&] { return ++n_windows <= 3; };  // in the middle of step 2
    CHECK(distill(parts, tokens, {}).n_done == 1);
    parts.go_on = {};
    parts.resume = true;
    parts.look_ups = 0.5;
    CHECK_THAT(refusal(ErrorKind::kUsage, [&] { distill(parts, tokens, {}); }),
               ContainsSubstring("expected look_ups 0.5, found 0.75"));
    parts.look_ups = 0.75;
    CHECK(distill(parts, tokens, {}).n_done == 3);
    CHECK((d.weights(parts_dir) == d.weights(whole_dir)));
  }
}

TEST_CASE("look-ups change what gates learn, and are refused in windows without room for one") {
  const Distilling d;
  const std::vector<int32_t> tokens = prose(with_look_ups(d, "", 0.0).model_dir, 3000);
  distill(with_look_ups(d, "with", 1.0), tokens, {});
  distill(with_look_ups(d, "without", 0.0), tokens, {});
  CHECK((d.weights("with") != d.weights("without")));
  DistillOptions small = with_look_ups(d, "small", 1.0);
  small.block_size = 32;
  small.window = 128;
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { distill(small, tokens, {}); }),
             ContainsSubstring("tokens, in which there is room for look-ups, found 128"));
  CHECK(!fs::exists(d.path("small")));
}

TEST_CASE("ranks among which the heads cannot be divided are refused before anything is written") {
  const Distilling d;
  DistillOptions options = d.options("gates");
  options.ranks = Ranks::start(3, {SEER_BINARY});
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { distill(options, d.tokens(), {}); }),
             ContainsSubstring("4 attention heads with 2 KV heads cannot be split among 3 ranks"));
  options = d.options("gates", GateKind::kDecode);
  options.ranks = Ranks::start(4, {SEER_BINARY});
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { distill(options, d.tokens(), {}); }),
             ContainsSubstring("found 4 ranks"));
  CHECK(!fs::exists(d.path("gates")));
}

TEST_CASE("another seed gives other gates") {
  const Distilling d;
  distill(d.options("a"), d.tokens(), {});
  DistillOptions options = d.options("b");
  options.seed = 1;
  distill(options, d.tokens(), {});
  CHECK(d.weights("a") != d.weights("b"));
}

TEST_CASE("steps report losses that fall, and texts held out measure rules") {
  const Distilling d;
  DistillOptions options = d.options("gates");
  options.steps = 12;
  std::vector<double> losses;
  options.on_step = [&](const DistillStep& step) {
    CHECK(step.layer_losses.size() == 2);
    CHECK(step.n_steps == 12);
    losses.push_back(step.loss());
  };
  const DistillResult result = distill(options, d.tokens(), random_ids(300, 53, 10));
  REQUIRE(losses.size() == 12);
  CHECK(losses.back() < losses.front());
  CHECK(result.n_held_out == 2);
  CHECK(result.held_out_loss() < losses.front());
  REQUIRE(result.held_out_rules.size() == 8);
  for (const HeldOutRule& rule : result.held_out_rules) {
    INFO(rule.rule);
    CHECK(rule.density > 0.0);
    CHECK(rule.density <= 1.0);
    CHECK(rule.recall >= 0.9 * rule.density);  // gates choose no worse than chance
    CHECK(rule.recall <= rule.possible_recall + 1e-6);
    CHECK(rule.possible_recall <= 1.0 + 1e-6);
  }
  CHECK(result.held_out_rules[0].density >= result.held_out_rules[4].density);
}

TEST_CASE("texts and windows that cannot be trained on are refused by name") {
  const Distilling d;
  const auto refused = [&](const DistillOptions& options, const std::vector<int32_t>& tokens,
                           const std::vector<int32_t>& held_out = {}) {
    return refusal(ErrorKind::kUsage, [&] { distill(options, tokens, held_out); });
  };
  const DistillOptions options = d.options("gates");
  CHECK_THAT(refused(options, {}), ContainsSubstring("no text"));
  CHECK_THAT(refused(options, random_ids(127, 53, 1)),
             ContainsSubstring("expected at least one window of 128 tokens, found 127"));
  CHECK_THAT(refused(options, d.tokens(), random_ids(5, 53, 1)), ContainsSubstring("held out"));
  CHECK_THAT(refused(options, random_ids(200, 54, 1)), ContainsSubstring("found 53"));
  DistillOptions odd = options;
  odd.window = 100;
  CHECK_THAT(refused(odd, d.tokens()), ContainsSubstring("a multiple of the block of 16 tokens, found 100"));
  odd.window = 48;
  CHECK_THAT(refused(odd, d.tokens()), ContainsSubstring("at least four blocks"));
  odd.window = 2048;
  CHECK_THAT(refused(odd, d.tokens()), ContainsSubstring("longest context of 1024"));
  odd = options;
  odd.block_size = 0;
  CHECK_THAT(refused(odd, d.tokens()), ContainsSubstring("block size: expected 1 or more, found 0"));
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { default_window(odd); }),
             ContainsSubstring("block size: expected 1 or more, found 0"));
  odd.block_size = 16;
  odd.gate_type = "Qavg";
  CHECK_THAT(refused(odd, d.tokens()), ContainsSubstring("seerattn_gate_type"));
  CHECK(!fs::exists(d.path("gates")));  // nothing was written for any of them
}

TEST_CASE("a folder that has gates or another run's checkpoint is refused") {
  const Distilling d;
  DistillOptions options = d.options("gates");
  const auto refused = [&] { return refusal(ErrorKind::kUsage, [&] { distill(options, d.tokens(), {}); }); };
  options.resume = true;
  CHECK_THAT(refused(), ContainsSubstring("has no checkpoint to resume"));
  options.resume = false;
  int n_windows = 0;
  options.go_on = [&] { return ++n_windows <= 2; };
  CHECK(distill(options, d.tokens(), {}).stopped);
  options.go_on = {};
  CHECK_THAT(refused(), ContainsSubstring("checkpoint of another run"));
  options.resume = true;
  options.seed = 3;
  CHECK_THAT(refused(), ContainsSubstring("expected seed 3, found 0"));
  options.seed = 0;
  options.clip = GradientClip::kLayer;
  CHECK_THAT(refused(), ContainsSubstring(R"(expected clip "layer", found "all")"));
  options.clip = GradientClip::kAll;
  for (const double share : {2.0, -0.5, std::nan("")}) {
    options.look_ups = share;
    CHECK_THAT(refused(), ContainsSubstring("look-ups: expected a share between 0 and 1, found " +
                                            std::to_string(share)));
  }
  options.look_ups = 0.5;  // the tiny model has no tokenizer
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { distill(options, d.tokens(), {}); }),
             ContainsSubstring("tokenizer"));
  options.look_ups = 0.0;
  CHECK(distill(options, d.tokens(), {}).n_done == 4);
  options.resume = false;
  CHECK_THAT(refused(), ContainsSubstring("has a config.json already"));
}

}  // namespace
}  // namespace seer
