// Files of trained gates: what is written is what the loaders of the engine read, and what the trainer
// computed with it is what the engine computes.
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <vector>

#include "models/distill/checkpoint.h"
#include "models/distill/gates_writer.h"
#include "models/distill/pth_writer.h"
#include "models/distill/windows.h"
#include "models/gates.h"
#include "models/pth.h"
#include "tests/models/distill_runner.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::decode_spec;
using testing::DecoderRunner;
using testing::DistillRunner;
using testing::Part;
using testing::prefill_spec;
using testing::RunnerOptions;
using testing::TempDir;
using testing::TinyModel;

using Scores = std::map<int64_t, std::vector<float>>;  // by layer, [n_heads, rows, n_blocks]

// Trains a little, writes the gates and returns the trainer's scores with the written weights.
Scores train_and_write(DistillRunner* runner, const fs::path& dir, bool pth) {
  for (int i = 0; i < 2; ++i) runner->step();
  const std::vector<float> weights = runner->trainer().state().weights;
  write_gates(dir.string(), runner->plan(), weights, pth);
  runner->trainer().set_weights(rounded_weights(weights));
  Scores scores;
  runner->trainer().evaluate(runner->window(), [&](int64_t l, const Tensor& of_layer, const Tensor&) {
    scores[l].resize(static_cast<size_t>(of_layer.numel()));
    runner->backend().read(scores[l].data(), of_layer);
  });
  return scores;
}

RunnerOptions with_gates(const fs::path& dir) {
  RunnerOptions options;
  options.page_tokens = 16;
  options.gates = dir.string();
  return options;
}

std::vector<int32_t> pages(int64_t n) {
  std::vector<int32_t> table(static_cast<size_t>(n));
  std::iota(table.begin(), table.end(), 0);
  return table;
}

void check_prefill(const GateSpec& spec, bool pth) {
  INFO(spec.type << ", size " << spec.d_gate << ", pth " << pth);
  const TinyModel tiny;
  const TempDir dir;
  DistillRunner trained(tiny, spec, 0.01);
  Scores expected = train_and_write(&trained, dir.path(), pth);
  if (pth) fs::remove(dir.path() / "attn_gate_weights.safetensors");
  DecoderRunner engine(tiny, with_gates(dir.path()));
  double worst = 0.0;
  const ScoredRows& rows = trained.trainer().rows();
  engine.on_gate([&](const GateReport& report) {
    for (int64_t h = 0; h < report.n_heads; ++h)
      for (int64_t i = 0; i < rows.n; ++i) {
        const float* raw = expected.at(report.layer).data() + (h * rows.n + i) * report.n_blocks;
        const float* found = report.scores + (h * report.n_rows + rows.position(i)) * report.n_blocks;
        double total = 0.0;
        for (int64_t b = 0; b < rows.visible(i); ++b) total += std::exp(static_cast<double>(raw[b]));
        for (int64_t b = 0; b < rows.visible(i); ++b)
          worst = std::max(worst, std::abs(found[b] - std::exp(static_cast<double>(raw[b])) / total));
      }
  });
  SelectRule all;  // every block is above a threshold of 0, so layers see what they saw in training
  all.n_prompt_blocks = 8;
  engine.step_without_logits({{trained.window(), 0, pages(8), 0, all}});
  CHECK(worst > 0.0);
  CHECK(worst < 1e-5);
}

void check_decode(const GateSpec& spec) {
  INFO(spec.type << ", norms " << spec.norms << ", rotates " << spec.rotates);
  const TinyModel tiny;
  const TempDir dir;
  DistillRunner trained(tiny, spec, 0.01);
  Scores expected = train_and_write(&trained, dir.path(), false);
  DecoderRunner engine(tiny, with_gates(dir.path()));
  const ScoredRows& rows = trained.trainer().rows();
  const int64_t token = 100, row = token - rows.first, n_full = token / 16, n_blocks = 8;
  double worst = 0.0;
  engine.on_decode_gate([&](const DecodeGateReport& report) {
    for (int64_t h = 0; h < report.n_kv_heads; ++h) {
      const float* raw = expected.at(report.layer).data() + (h * rows.n + row) * n_blocks;
      const float* found = report.scores + h * report.capacity;
      // The engine's softmax has the open block besides, whose score is 0.
      for (int64_t b = 0; b < n_full; ++b)
        worst = std::max(worst, std::abs(std::log(static_cast<double>(found[b]) / found[n_full]) - raw[b]));
    }
  });
  const std::vector<int32_t>& ids = trained.window();
  engine.step_without_logits({{{ids.begin(), ids.begin() + token}, 0, pages(8)}});
  Part decode{{ids[static_cast<size_t>(token)]}, token, pages(8)};
  decode.decode = {DecodeRule::Method::kBudget, 1024.0};
  engine.step({}, {decode});
  CHECK(worst > 0.0);
  CHECK(worst < 1e-4);
}

TEST_CASE("written gates for prompts give the trainer's scores in the decoder") {
  check_prefill(prefill_spec("Qavg_Kmaxminavg"), false);
  check_prefill(prefill_spec("Qavg_Kmaxminavg"), true);
  check_prefill(prefill_spec("Qmaxmin_Kavg"), false);
  check_prefill(prefill_spec("Qavg_Kminavg", 16), true);
}

TEST_CASE("written gates for decoding give the trainer's scores in the decoder") {
  check_decode(decode_spec("Qproj_Kmaxminavg"));
  check_decode(decode_spec("Qavgproj_Kmax", false));
  check_decode(decode_spec("Qavg_Kmaxminavg", true, false));
}

TEST_CASE("the .pth of trained gates has the same tensors as the .safetensors") {
  const TinyModel tiny;
  const TempDir dir;
  DistillRunner trained(tiny, decode_spec("Qproj_Kmaxminavg"), 0.01);
  train_and_write(&trained, dir.path(), true);
  const TensorMap a = read_pth((dir.path() / "attn_gate_weights.pth").string()),
                  b = read_safetensors((dir.path() / "attn_gate_weights.safetensors").string());
  REQUIRE(a.all().size() == 8);  // four tensors in each of two layers
  REQUIRE(b.all().size() == 8);
  for (const auto& [name, tensor] : a.all()) {
    INFO(name);
    const Tensor* other = b.find(name);
    REQUIRE(other != nullptr);
    CHECK((tensor.dtype == DType::kBF16));
    CHECK(shape_string(tensor) == shape_string(*other));
    CHECK(std::equal(static_cast<const uint16_t*>(tensor.data),
                     static_cast<const uint16_t*>(tensor.data) + tensor.numel(),
                     static_cast<const uint16_t*>(other->data)));
  }
}

TEST_CASE("the config of trained gates has the keys by which upstream computes what Seer does") {
  const TinyModel tiny;
  const ModelConfig config = ModelConfig::load(tiny.path());
  const auto written = [&](const GateSpec& spec) { return GatePlan(spec, tiny.path(), config).config(); };
  // Upstream refuses the method token_budget. A threshold of 0 was never tuned, so Seer takes the budget.
  const OrderedJson decode = written(decode_spec("Qproj_Kavg"));
  CHECK(decode["seerattn_sparsity_method"] == "threshold");
  CHECK(decode["seerattn_threshold"] == 0.0);
  CHECK(decode["seerattn_token_budget"] == 4096);
  CHECK(written(prefill_spec("Qavg_Kavg", 16))["head_dim"] == config.d_head);
}

TEST_CASE("the config of trained gates names the model, and no path of this machine") {
  const TinyModel tiny;
  const ModelConfig config = ModelConfig::load(tiny.path());
  const std::filesystem::path file = std::filesystem::path(tiny.path()) / "config.json";
  const OrderedJson model = read_ordered_json(testing::read_file(file.string()));
  const std::string folder = std::filesystem::path(tiny.path()).filename().string();
  const auto written = [&](const std::string& dir) {
    return GatePlan(prefill_spec("Qavg_Kavg"), dir, config).config();
  };
  CHECK(!written(tiny.path()).contains("_name_or_path"));
  for (const char* end : {"", "/", "/.", "//", "/../"}) {
    const std::string dir = tiny.path() + end + (std::string(end) == "/../" ? folder : "");
    CHECK(written(dir)["base_model"] == folder);
  }
  for (const char* path : {"/home/someone/models/tiny", "./tiny", "../tiny", "~/tiny", "C:\\models\\tiny",
                           "a/b/tiny", "tiny/", ""}) {
    INFO(path);
    OrderedJson with_path = model;
    with_path["_name_or_path"] = path;
    testing::write_file(file, with_path.dump());
    CHECK(written(tiny.path())["base_model"] == folder);
    CHECK(written(tiny.path())["_name_or_path"] == folder);
  }
  for (const char* name : {"tiny-1B", "someone/tiny-1.5B"}) {
    OrderedJson with_name = model;
    with_name["_name_or_path"] = name;
    testing::write_file(file, with_name.dump());
    CHECK(written(tiny.path())["base_model"] == name);
    CHECK(written(tiny.path())["_name_or_path"] == name);
  }
}

TEST_CASE("gates that do not fit the model are refused before anything is trained") {
  const TinyModel tiny;
  const ModelConfig config = ModelConfig::load(tiny.path());
  const auto refused = [&](const GateSpec& spec, ErrorKind kind = ErrorKind::kUsage) {
    return testing::refusal(kind, [&] { GatePlan(spec, tiny.path(), config); });
  };
  CHECK_THAT(refused(prefill_spec("Qavg")), ContainsSubstring("seerattn_gate_type"));
  CHECK_THAT(refused(prefill_spec("Qmed_Kavg")), ContainsSubstring("Qmed_Kavg"));
  CHECK_THAT(refused(prefill_spec("Qavg_Kavg", 4)), ContainsSubstring("seerattn_gate_hidden_size"));
  CHECK_THAT(refused(decode_spec("Qavg")), ContainsSubstring("Qproj_Kmaxminavg"));
  CHECK_THAT(refused(decode_spec("Qmax_Kavg")), ContainsSubstring("seerattn_q_head_pooling_type"));
  GateSpec spec = decode_spec("Qproj_Kavg");
  spec.d_gate = 16;
  CHECK_THAT(refused(spec, ErrorKind::kUnsupported), ContainsSubstring("seerattn_gate_hidden_size"));
  spec = decode_spec("Qproj_Kavg");
  spec.block = 128;
  CHECK_THAT(refused(spec), ContainsSubstring("seerattn_gate_block_size"));
}

TEST_CASE("a checkpoint brings back the state, and is refused for another run") {
  const TempDir dir;
  const TrainerState state{17, {1.0F, -2.0F}, {0.5F, 0.25F}, {3.0F, 1e-30F}};
  const OrderedJson settings = {{"kind", "prefill"}, {"window", 128}};
  CHECK(!read_checkpoint(dir.path().string(), 2, settings).has_value());
  write_checkpoint(dir.path().string(), state, settings);
  const auto found = read_checkpoint(dir.path().string(), 2, settings);
  REQUIRE(found.has_value());
  CHECK(found->n_done == 17);
  CHECK((found->weights == state.weights));
  CHECK((found->moments == state.moments));
  CHECK((found->second_moments == state.second_moments));
  CHECK_THAT(
      testing::refusal(ErrorKind::kUsage,
                       [&] {
                         read_checkpoint(dir.path().string(), 2, {{"kind", "prefill"}, {"window", 256}});
                       }),
      ContainsSubstring("expected window 256, found 128"));
  CHECK_THAT(testing::refusal(ErrorKind::kFile, [&] { read_checkpoint(dir.path().string(), 3, settings); }),
             ContainsSubstring("weights"));
  remove_checkpoint(dir.path().string());
  CHECK(fs::is_empty(dir.path()));
}

TEST_CASE("windows of an epoch follow one another, each once, and are a function of the seed") {
  std::vector<int32_t> tokens(1000);
  std::iota(tokens.begin(), tokens.end(), 0);
  Windows windows(tokens, 100, 5), same(tokens, 100, 5), other(tokens, 100, 6);
  CHECK(windows.in_epoch() == 9);
  std::vector<int32_t> starts, others;
  for (int64_t i = 0; i < 9; ++i) {
    REQUIRE(windows.at(i).size() == 100);
    starts.push_back(windows.at(i).front());
    others.push_back(other.at(i).front());
    CHECK(same.at(i).front() == starts.back());
  }
  CHECK(starts != others);
  CHECK(windows.at(9).front() != starts.front());
  CHECK(same.at(3).front() == starts[3]);  // back in the first epoch
  std::sort(starts.begin(), starts.end());
  for (size_t i = 0; i < starts.size(); ++i) CHECK(starts[i] == starts[0] + static_cast<int32_t>(i) * 100);
  Windows whole(tokens, 1000, 5);
  CHECK(whole.in_epoch() == 1);
  CHECK(whole.at(7).front() == 0);
}

}  // namespace
}  // namespace seer
