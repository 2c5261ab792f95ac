// Decoding with gates on a GPU, compared with the goldens, with the rule, and with the engine on the CPU.
#include <algorithm>
#include <cmath>

#include "kernels/backend.h"
#include "seer/ranks.h"
#include "tests/engine_cuda/evaluation.h"
#include "tests/support/catch.h"
#include "tests/support/decode_goldens.h"

namespace seer {
namespace {

using testing::DecodeGolden;
using testing::DecodeGoldenRule;

// One decoded token's scores and kept blocks, [n_kv_heads, golden.n_blocks].
struct Choice {
  std::vector<float> scores;
  std::vector<uint8_t> kept;
};

struct Decoding {
  std::vector<std::vector<float>> logits;           // of each decoded token
  std::vector<std::map<int64_t, Choice>> choices;   // likewise, by layer
  std::map<int64_t, std::vector<float>> gate_keys;  // by layer
  RequestStats stats;
};

SparseDecodeRule named(const DecodeRule& rule) {
  return {rule.method == DecodeRule::Method::kThreshold ? SparseDecodeRule::Method::kThreshold
                                                        : SparseDecodeRule::Method::kBudget,
          rule.value};
}

EngineOptions golden_options(const DecodeGolden& golden) {
  EngineOptions options = testing::demo_options("cuda");
  options.model_dir = golden.model_dir;
  options.gates_dir = golden.gates_dir;
  return options;
}

// Several ranks report no gate keys.
Decoding decode(Engine& engine, const DecodeGolden& golden, const DecodeRule& rule) {
  Decoding out;
  out.choices.resize(static_cast<size_t>(golden.n_steps));
  EvaluateRequest request;
  request.tokens = golden.input_ids;
  request.n_prompt = golden.n_prompt;
  request.n_last_logits = golden.n_steps;
  request.sparse_decode = named(rule);
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t r = 0; r < n_rows; ++r)
      out.logits.emplace_back(logits + r * n_vocab, logits + (r + 1) * n_vocab);
    return true;
  };
  request.on_decode_gate = [&](const DecodeGateRows& rows) {
    Choice& choice = out.choices[static_cast<size_t>(rows.position - golden.n_prompt)][rows.layer];
    choice.scores.assign(static_cast<size_t>(golden.n_kv_heads * golden.n_blocks), 0.0F);
    choice.kept.assign(choice.scores.size(), 0);
    for (int64_t h = 0; h < rows.n_kv_heads; ++h) {
      const auto to = h * golden.n_blocks, from = h * rows.n_blocks;
      std::copy_n(rows.scores + from, rows.n_blocks, choice.scores.begin() + to);
      std::copy_n(rows.mask + from, rows.n_blocks, choice.kept.begin() + to);
    }
  };
  if (engine.info().n_ranks == 1)
    request.on_decode_gate_keys = [&](const DecodeGateKeys& keys) {
      out.gate_keys[keys.layer].assign(keys.keys, keys.keys + keys.n_blocks * keys.n_kv_heads * keys.d_gate);
    };
  out.stats = engine.new_session()->evaluate(request);
  return out;
}

// Returns how many blocks of a choice contradict the rule, given the choice's own scores. If a score is
// nearer to the rule's edge than the error of a softmax in float32, its block may be kept or not.
int64_t count_rule_errors(const DecodeGolden& golden, const DecodeRule& rule, int64_t step,
                          const Choice& choice) {
  constexpr double kNear = 1e-6;
  const int64_t n = (golden.n_prompt + step + golden.block) / golden.block;
  int64_t errors = 0;
  for (int64_t h = 0; h < golden.n_kv_heads; ++h) {
    const float* scores = choice.scores.data() + h * golden.n_blocks;
    const uint8_t* kept = choice.kept.data() + h * golden.n_blocks;
    double edge = rule.value;
    if (rule.method == DecodeRule::Method::kBudget) {
      std::vector<float> ordered(scores, scores + n);
      std::sort(ordered.begin(), ordered.end(), std::greater<>());
      const int64_t k = rule.n_best(n, golden.block);
      edge = k < n ? (ordered[static_cast<size_t>(k - 1)] + ordered[static_cast<size_t>(k)]) / 2.0 : -1.0;
    }
    for (int64_t b = 0; b < golden.n_blocks; ++b) {
      const bool wanted = b < n && (scores[b] > edge || b == 0 || b == n - 1);
      errors += wanted != (kept[b] != 0) && (b >= n || std::abs(scores[b] - edge) > kNear) ? 1 : 0;
    }
  }
  return errors;
}

void check_rule(Engine& engine, const DecodeGolden& golden, const DecodeGoldenRule& rule) {
  const Decoding out = decode(engine, golden, rule.rule);
  const bool has_keys = engine.info().n_ranks == 1;
  const auto n_scores = static_cast<size_t>(golden.n_kv_heads * golden.n_blocks);
  std::vector<float> logits, expected_logits;
  int64_t rule_errors = 0, n_same = 0;
  double worst_first = 0.0, worst_keys = 0.0, largest_key = 0.0;
  for (int64_t s = 0; s < golden.n_steps; ++s) {
    const std::map<int64_t, Choice>& choices = out.choices[static_cast<size_t>(s)];
    REQUIRE(static_cast<int64_t>(choices.size()) == golden.n_layers);
    bool same = true;
    for (const auto& [layer, choice] : choices) {
      const auto at = static_cast<std::ptrdiff_t>(s) * static_cast<std::ptrdiff_t>(n_scores);
      rule_errors += count_rule_errors(golden, rule.rule, s, choice);
      same = same && std::equal(choice.kept.begin(), choice.kept.end(), rule.masks.at(layer).begin() + at);
      if (layer == 0)
        for (size_t i = 0; i < n_scores; ++i)
          worst_first = std::max<double>(
              worst_first, std::abs(choice.scores[i] - rule.scores.at(0)[static_cast<size_t>(at) + i]));
    }
    if (!same) continue;
    ++n_same;
    const auto begin = rule.logits.begin() + s * golden.n_vocab;
    logits.insert(logits.end(), out.logits[static_cast<size_t>(s)].begin(),
                  out.logits[static_cast<size_t>(s)].end());
    expected_logits.insert(expected_logits.end(), begin, begin + golden.n_vocab);
  }
  for (size_t i = 0; has_keys && i < rule.gate_keys.at(0).size(); ++i) {
    worst_keys = std::max<double>(worst_keys, std::abs(out.gate_keys.at(0)[i] - rule.gate_keys.at(0)[i]));
    largest_key = std::max<double>(largest_key, std::abs(rule.gate_keys.at(0)[i]));
  }
  const testing::Difference d = testing::difference(logits, expected_logits);
  INFO("scores of layer 0: " << worst_first << ", keys: " << worst_keys << " of " << largest_key
                             << ", same blocks in " << n_same << " of " << golden.n_steps << " steps, logits "
                             << d.worst << ", " << d.mean << " of " << d.largest << ", density "
                             << out.stats.decode_density);
  CHECK(rule_errors == 0);
  CHECK(worst_first < 0.05);
  if (has_keys) CHECK(worst_keys < 0.02 * largest_key);
  CHECK(n_same * 2 > golden.n_steps);
  CHECK(d.worst < 0.15 * d.largest);
  CHECK(d.mean < 0.015 * d.largest);
  CHECK(out.stats.decode_density == Approx(rule.density).epsilon(0.1));
}

TEST_CASE("decode gates on a GPU: blocks follow the rule, and scores, keys and logits are the golden's") {
  if (!testing::have_gpu()) return;
  for (const char* name : {"r-qwen3", "r-llama", "r-ragged"}) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    const auto engine = Engine::load(golden_options(*golden));
    for (const DecodeGoldenRule& rule : golden->rules) {
      INFO(name << ", " << rule.name);
      check_rule(*engine, *golden, rule);
    }
  }
}

#ifdef SEER_HAVE_NCCL
TEST_CASE("decode gates on GPUs whose ranks divide prompts choose over all ranks' blocks as one does") {
  if (!testing::have_gpu()) return;
  constexpr int kRanks = 2;
  testing::prepare_gpu_ranks(kRanks);
  for (const char* name : {"r-qwen3", "r-llama", "r-ragged"}) {
    const auto golden = DecodeGolden::read(name);
    if (!golden) return;
    EngineOptions options = golden_options(*golden);
    options.ranks = Ranks::start(kRanks, {SEER_BINARY});
    options.rank_split = RankSplit::kContext;
    options.chunk_size = 192;  // runs of few blocks, so that both ranks have pages
    const auto engine = Engine::load(options);
    for (const DecodeGoldenRule& rule : golden->rules) {
      INFO(name << ", " << rule.name);
      check_rule(*engine, *golden, rule);
    }
  }
}
#endif

}  // namespace
}  // namespace seer
