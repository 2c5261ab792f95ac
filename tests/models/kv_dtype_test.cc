// The forward pass over bf16 pages, compared with a float64 one that rounds keys and values in the same
// places, and every way to compute the same tokens compared with one shot.
#include <algorithm>
#include <map>
#include <tuple>

#include "tests/models/decoder_runner.h"
#include "tests/models/ranked_runner.h"
#include "tests/models/reference_forward.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DecoderRunner;
using testing::difference;
using testing::GatesDir;
using testing::Logits;
using testing::Part;
using testing::random_ids;
using testing::RankedRunner;
using testing::reference_forward;
using testing::RunnerOptions;
using testing::TinyModel;
using testing::TinyShape;

// Logits are near 1. If two orders of a float32 sum give results on two sides of a tie, one stored element
// differs by a unit in its last place, 2^-8 for values from 0.5 to 1. That happens to one element in some
// 10^4, and it reaches a logit as one of d_head products or times one token's weight. Rounding all of them
// moves these logits by up to kRounding, which is 2^-8 of them times the factor of two layers with weights
// near 1; 9e-3 was seen.
constexpr double kRoundedTolerance = 5e-4;
constexpr double kRounding = 2e-2;
constexpr int64_t kRoundedBlock = 16;
const std::vector<int32_t> kRoundedPages = {4, 0, 7, 2, 9, 1, 3, 5, 8};

RunnerOptions bf16(RunnerOptions options = {}) {
  options.kv_dtype = DType::kBF16;
  options.page_tokens = kRoundedBlock;
  return options;
}

std::vector<int32_t> part_of(const std::vector<int32_t>& ids, int64_t begin, int64_t end) {
  return {ids.begin() + begin, ids.begin() + end};
}

TEST_CASE("bf16 pages: prompts equal the float64 forward pass that rounds keys and values") {
  TinyShape shape;
  shape.architecture = GENERATE("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM");
  const TinyModel model(shape);
  const std::vector<int32_t> ids = random_ids(127, 53, 1);
  const auto rounded = reference_forward(model, ids, {}, /*bf16_pages=*/true);
  const auto exact = reference_forward(model, ids);
  for (const int64_t n : {1, 15, 16, 17, 127}) {
    INFO(shape.architecture << ", " << n << " tokens");
    const Logits found = DecoderRunner(model, bf16()).step({{part_of(ids, 0, n), 0, kRoundedPages}});
    const auto first = [n](const auto& all) {
      return std::vector<std::vector<double>>(all.begin(), all.begin() + n);
    };
    CHECK(difference(found, first(rounded)) < kRoundedTolerance);
    CHECK(difference(found, first(exact)) < kRounding);
  }
  // The pages are rounded, and by more than the tolerance above.
  CHECK(difference(DecoderRunner(model, bf16()).step({{ids, 0, kRoundedPages}}), exact) >
        2.0 * kRoundedTolerance);
}

TEST_CASE("bf16 pages: chunks, and tokens decoded one by one, equal one shot over another sequence's keys") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(130, 53, 3);
  const Logits whole = DecoderRunner(model, bf16()).step({{ids, 0, kRoundedPages}});
  for (const int64_t chunk : {16, 48, 128}) {
    INFO("chunks of " << chunk);
    DecoderRunner runner(model, bf16());
    runner.fill_pages(1000.0F);
    Logits parts;
    for (int64_t begin = 0; begin < 130; begin += chunk) {
      const int64_t end = std::min<int64_t>(130, begin + chunk);
      for (const auto& row : runner.step({{part_of(ids, begin, end), begin, kRoundedPages, 130}}))
        parts.push_back(row);
    }
    CHECK(difference(parts, whole) < kRoundedTolerance);
  }
  for (const int64_t n_prompt : {1, 16, 63, 120}) {
    INFO("a prompt of " << n_prompt);
    DecoderRunner runner(model, bf16());
    Logits found = runner.step({{part_of(ids, 0, n_prompt), 0, kRoundedPages}});
    for (int64_t i = n_prompt; i < 130; ++i)
      for (const auto& row : runner.step({}, {{part_of(ids, i, i + 1), i, kRoundedPages}}))
        found.push_back(row);
    CHECK(difference(found, whole) < kRoundedTolerance);
  }
}

TEST_CASE("bf16 pages: a step of prompts and decodes gives what each gives alone") {
  const TinyModel model;
  const std::vector<int32_t> a = random_ids(33, 53, 6), b = random_ids(20, 53, 7);
  DecoderRunner runner(model, bf16());
  runner.step({{part_of(b, 0, 19), 0, {5, 6}}});
  const Logits mixed = runner.step({{a, 0, {0, 1, 2}}}, {{{b[19]}, 19, {5, 6}}});
  Logits alone = DecoderRunner(model, bf16()).step({{a, 0, {0, 1, 2}}});
  alone.push_back(DecoderRunner(model, bf16()).step({{b, 0, {5, 6}}}).back());
  CHECK(difference(mixed, alone) < kRoundedTolerance);
}

// By layer, head and block row: the kept blocks and all scores.
using GateRowsSeen =
    std::map<std::tuple<int64_t, int64_t, int64_t>, std::pair<std::vector<int32_t>, std::vector<float>>>;

GateObserver collect(GateRowsSeen* into) {
  return [into](const GateReport& r) {
    for (int64_t list = 0; list < r.n_heads * r.n_rows; ++list) {
      const int32_t* kept = r.blocks + list * r.n_blocks;
      const float* scores = r.scores + list * r.n_blocks;
      (*into)[{r.layer, list / r.n_rows, r.first_row + list % r.n_rows}] = {{kept, kept + r.counts[list]},
                                                                            {scores, scores + r.n_blocks}};
    }
  };
}

TEST_CASE("bf16 pages: gates pool what float32 pages pool, so the first layer scores with the same bits") {
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> ids = random_ids(130, 53, 23);
  const Part prompt{ids, 0, kRoundedPages, 130, SelectRule{SelectRule::Method::kNzRatio, 0.4, false, 9}};
  GateRowsSeen wide, narrow;
  DecoderRunner f32(model, gates.options()), half(model, bf16(gates.options()));
  f32.on_gate(collect(&wide));
  half.on_gate(collect(&narrow));
  f32.step({prompt});
  const Logits found = half.step({prompt});
  REQUIRE(wide.size() == narrow.size());
  for (const auto& [key, row] : narrow)
    if (std::get<0>(key) == 0) CHECK(row == wide.at(key));
  const auto sees = [&](int64_t l, int64_t h, int64_t i, int64_t j) {
    const std::vector<int32_t>& kept = narrow.at({l, h, i / kRoundedBlock}).first;
    return std::find(kept.begin(), kept.end(), j / kRoundedBlock) != kept.end();
  };
  CHECK(difference(found, reference_forward(model, ids, sees, /*bf16_pages=*/true)) < kRoundedTolerance);
}

TEST_CASE("bf16 pages: ranks that hold the model together, or divide prompts, give one process's logits") {
  const bool divided = GENERATE(false, true);
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> ids = random_ids(100, 53, 9);
  for (const int n_ranks : divided ? std::vector<int>{2, 3} : std::vector<int>{2, 4})
    for (const bool sparse : {false, true}) {
      INFO(n_ranks << " ranks, divided " << divided << ", sparse " << sparse);
      RunnerOptions options = bf16(gates.options());
      DecoderRunner one(model, options);
      options.divided = divided;
      RankedRunner ranked(model, n_ranks, options);
      Part first{part_of(ids, 0, 48), 0, kRoundedPages, 96};  // pages of all ranks, in no order
      Part second{part_of(ids, 48, 96), 48, kRoundedPages, 96};
      if (sparse) first.select = second.select = SelectRule{SelectRule::Method::kNzRatio, 0.4, false, 6};
      GateRowsSeen alone, together;
      one.on_gate(collect(&alone));
      ranked.leader().on_gate(collect(&together));
      for (const Part& part : {first, second}) {
        CHECK(difference(ranked.step({part}), one.step({part})) < kRoundedTolerance);
        CHECK(ranked.stats().kept_blocks == one.stats().kept_blocks);
      }
      CHECK(alone.size() == together.size());
      for (const auto& [key, row] : together) CHECK(row.first == alone.at(key).first);
      for (int64_t at = 96; at < 100; ++at) {
        const Part next{{ids[static_cast<size_t>(at)]}, at, kRoundedPages};
        CHECK(difference(ranked.step({}, {next}), one.step({}, {next})) < kRoundedTolerance);
      }
    }
}

}  // namespace
}  // namespace seer
