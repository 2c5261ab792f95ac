// Decoding with SeerAttention-R's gates gives what the official gate code gives: scores, kept blocks, gate
// keys and logits, step by step.
#include <algorithm>
#include <cmath>

#include "tests/models/decoder_runner.h"
#include "tests/support/catch.h"
#include "tests/support/decode_goldens.h"

namespace seer {
namespace {

using testing::DecodeGolden;
using testing::DecodeGoldenRule;
using testing::DecoderRunner;
using testing::Logits;
using testing::Part;
using testing::RunnerOptions;

constexpr double kLogits = 1e-3, kScores = 1e-5, kGateKeys = 1e-4;

double distance(const float* a, const float* b, int64_t n) {
  double worst = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

// A sequence of the golden's tokens. Its pages are not in order.
class Decoded {
 public:
  Decoded(const DecodeGolden& golden, int64_t chunk) : golden_(golden), runner_(golden.model_dir, options()) {
    const int64_t n = (golden.n_prompt + golden.n_steps + golden.block) / golden.block;
    for (int64_t i = 0; i < n; ++i) pages_.push_back(static_cast<int32_t>((i * 7 + 3) % kPages));
    for (int64_t at = 0; at < golden.n_prompt; at += chunk) {
      const int64_t end = std::min(golden.n_prompt, at + chunk);
      prompt_logits_ =
          runner_.step({{ids(at, end), at, pages_, golden.n_prompt}}, {}, {end - at - 1}).front();
    }
    runner_.on_decode_gate([this](const DecodeGateReport& report) { take(report); });
  }

  const std::vector<float>& prompt_logits() const { return prompt_logits_; }
  // Decodes the next token, and returns its logits.
  std::vector<float> decode(const DecodeRule& rule) {
    const int64_t at = golden_.n_prompt + step_++;
    Part part{ids(at, at + 1), at, pages_};
    part.decode = rule;
    return runner_.step({}, {part}).front();
  }
  const std::vector<float>& scores(int64_t layer) const { return scores_.at(layer); }
  const std::vector<uint8_t>& kept(int64_t layer) const { return kept_.at(layer); }
  const DecoderStats& stats() const { return runner_.decode_stats().front(); }
  const float* gate_keys(int64_t layer, int64_t block) const {
    const Tensor keys = runner_.cache().layer(layer).decode_gate_k;
    return keys.rows(pages_[static_cast<size_t>(block)], 1).as<float>();
  }

 private:
  static constexpr int64_t kPages = 29;  // no multiple of 7, so the pages differ

  RunnerOptions options() const {
    RunnerOptions o;
    o.page_tokens = golden_.block;
    o.n_pages = kPages;
    o.n_tokens = 4096;
    o.gates = golden_.gates_dir;
    return o;
  }
  std::vector<int32_t> ids(int64_t begin, int64_t end) const {
    return {golden_.input_ids.begin() + begin, golden_.input_ids.begin() + end};
  }
  void take(const DecodeGateReport& r) {
    std::vector<float>& scores = scores_[r.layer];
    std::vector<uint8_t>& kept = kept_[r.layer];
    scores.assign(static_cast<size_t>(r.n_kv_heads * golden_.n_blocks), 0.0F);
    kept.assign(scores.size(), 0);
    for (int64_t h = 0; h < r.n_kv_heads; ++h) {
      std::copy_n(r.scores + h * r.capacity, golden_.n_blocks, scores.begin() + h * golden_.n_blocks);
      for (int64_t i = 0; i < r.counts[h]; ++i)
        kept[static_cast<size_t>(h * golden_.n_blocks + r.blocks[h * r.capacity + i])] = 1;
    }
  }

  const DecodeGolden& golden_;
  DecoderRunner runner_;
  std::vector<int32_t> pages_;
  std::vector<float> prompt_logits_;
  int64_t step_ = 0;
  std::map<int64_t, std::vector<float>> scores_;
  std::map<int64_t, std::vector<uint8_t>> kept_;
};

void check_rule(const DecodeGolden& golden, const DecodeGoldenRule& rule, int64_t chunk) {
  Decoded decoded(golden, chunk);
  const int64_t n_scores = golden.n_kv_heads * golden.n_blocks;
  double worst_logits = distance(decoded.prompt_logits().data(), golden.dense_logits.data(), golden.n_vocab);
  double worst_scores = 0.0;
  DecoderStats all;
  int64_t mask_errors = 0;
  for (int64_t s = 0; s < golden.n_steps; ++s) {
    const std::vector<float> logits = decoded.decode(rule.rule);
    worst_logits = std::max(worst_logits,
                            distance(logits.data(), rule.logits.data() + s * golden.n_vocab, golden.n_vocab));
    int64_t n_kept = 0;
    for (int64_t l = 0; l < golden.n_layers; ++l) {
      worst_scores = std::max(worst_scores, distance(decoded.scores(l).data(),
                                                     rule.scores.at(l).data() + s * n_scores, n_scores));
      mask_errors += golden.count_mask_errors(rule, l, s, decoded.kept(l), kScores);
      n_kept += std::count(decoded.kept(l).begin(), decoded.kept(l).end(), 1);
    }
    CHECK(decoded.stats().kept_blocks == n_kept);
    all += decoded.stats();
  }
  CHECK(worst_logits < kLogits);
  CHECK(worst_scores < kScores);
  CHECK(mask_errors == 0);
  CHECK(all.density() == Approx(rule.density).epsilon(1e-9));
  const int64_t n_full = (golden.n_prompt + golden.n_steps) / golden.block;
  double worst_keys = 0.0;
  for (int64_t l = 0; l < golden.n_layers; ++l) {
    const auto size = static_cast<int64_t>(rule.gate_keys.at(l).size()) / n_full;
    for (int64_t b = 0; b < n_full; ++b)
      worst_keys = std::max(worst_keys,
                            distance(decoded.gate_keys(l, b), rule.gate_keys.at(l).data() + b * size, size));
  }
  CHECK(worst_keys < kGateKeys);
}

TEST_CASE(
    "decode gates give the official code's scores, blocks, keys and logits, whatever the prompt's chunks") {
  for (const char* name : {"r-qwen3", "r-llama", "r-ragged"}) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    for (const DecodeGoldenRule& rule : golden->rules)
      for (const int64_t chunk : {64, 192, 4096}) {
        INFO(name << ", " << rule.name << ", chunks of " << chunk);
        check_rule(*golden, rule, chunk);
      }
  }
}

TEST_CASE("dense decodes of a model with decode gates give the dense logits, and gate keys all the same") {
  for (const char* name : {"r-qwen3", "r-llama", "r-ragged"}) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    Decoded decoded(*golden, 64);
    for (int64_t s = 0; s < golden->n_steps; ++s)
      CHECK(distance(decoded.decode({}).data(), golden->dense_logits.data() + (s + 1) * golden->n_vocab,
                     golden->n_vocab) < kLogits);
    // The first layer's keys depend on the tokens alone, so they are those of any rule.
    const std::vector<float>& keys = golden->rules.front().gate_keys.at(0);
    const int64_t n_full = (golden->n_prompt + golden->n_steps) / golden->block,
                  size = static_cast<int64_t>(keys.size()) / n_full;
    for (int64_t b = 0; b < n_full; ++b)
      CHECK(distance(decoded.gate_keys(0, b), keys.data() + b * size, size) < kGateKeys);
  }
}

}  // namespace
}  // namespace seer
