// The forward pass compared with a float64 one, and every way to cut the same tokens into steps compared with
// one shot.
#include "models/decoder.h"

#include <algorithm>
#include <cmath>

#include "tests/models/decoder_runner.h"
#include "tests/models/reference_forward.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DecoderRunner;
using testing::difference;
using testing::Logits;
using testing::Part;
using testing::random_ids;
using testing::reference_forward;
using testing::RunnerOptions;
using testing::TinyModel;
using testing::TinyShape;

// Logits are near 1. Float32 against float64 differs by up to 5e-6 here, one order of sums against another by
// less.
constexpr double kTolerance = 2e-5;

std::vector<int32_t> slice(const std::vector<int32_t>& ids, int64_t begin, int64_t end) {
  return {ids.begin() + begin, ids.begin() + end};
}

Logits rows_of(const Logits& all, const std::vector<int64_t>& rows) {
  Logits out;
  for (const int64_t r : rows) out.push_back(all[static_cast<size_t>(r)]);
  return out;
}

Logits one_shot(const TinyModel& model, const std::vector<int32_t>& ids) {
  return DecoderRunner(model).step({{ids, 0, {0, 1, 2, 3}}});
}

TEST_CASE("decoder: prompts of 1, 63, 64, 65 and 127 tokens equal the float64 forward pass") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(127, 53, 1);
  const auto expected = reference_forward(model, ids);
  DecoderRunner runner(model);
  for (const int64_t n : {1, 63, 64, 65, 127}) {
    INFO(n << " tokens");
    const Logits found = runner.step({{slice(ids, 0, n), 0, {0, 1}}});
    REQUIRE(found.size() == static_cast<size_t>(n));
    // Causality: the rows of a shorter prompt are the first rows of a longer one.
    const std::vector<std::vector<double>> first(expected.begin(), expected.begin() + n);
    CHECK(difference(found, first) < kTolerance);
  }
  double largest = 0.0;
  for (const auto& row : expected)
    for (const double v : row) largest = std::max(largest, std::abs(v));
  CHECK(largest > 0.5);  // there is something to compare
}

TEST_CASE("decoder: other shapes equal the float64 forward pass") {
  TinyShape plain;
  plain.attention_bias = plain.mlp_bias = false;
  plain.tied = true;
  TinyShape one_kv_head;
  one_kv_head.n_kv_heads = 1;
  one_kv_head.n_layers = 1;
  TinyShape all_heads;
  all_heads.n_kv_heads = 4;
  all_heads.d_head = 6;
  TinyShape wide_heads;  // n_heads * d_head is not d_model
  wide_heads.n_heads = 3;
  wide_heads.n_kv_heads = 3;
  wide_heads.d_head = 32;
  wide_heads.n_layers = 3;
  TinyShape qwen2;  // biases of queries, keys and values alone
  qwen2.architecture = "Qwen2ForCausalLM";
  qwen2.n_heads = 7;
  qwen2.n_kv_heads = 1;
  TinyShape qwen3;  // norms of heads, whose width is not d_model / n_heads
  qwen3.architecture = "Qwen3ForCausalLM";
  qwen3.d_head = 10;
  TinyShape qwen3_plain = qwen3;
  qwen3_plain.attention_bias = false;
  const std::vector<int32_t> ids = random_ids(70, 53, 2);
  for (const TinyShape& shape : {plain, one_kv_head, all_heads, wide_heads, qwen2, qwen3, qwen3_plain}) {
    INFO(shape.architecture << ", " << shape.n_heads << " heads of " << shape.d_head << ", "
                            << shape.n_kv_heads << " KV heads");
    const TinyModel model(shape);
    CHECK(difference(one_shot(model, ids), reference_forward(model, ids)) < kTolerance);
  }
}

TEST_CASE("decoder: chunks that begin on pages equal one shot") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(200, 53, 3);
  const Logits whole = one_shot(model, ids);
  const std::vector<std::vector<int64_t>> cuts = {{64, 128, 192}, {64}, {128}, {192}, {64, 192}};
  for (const std::vector<int64_t>& cut : cuts) {
    DecoderRunner runner(model);
    Logits parts;
    int64_t begin = 0;
    for (size_t i = 0; i <= cut.size(); ++i) {
      const int64_t end = i < cut.size() ? cut[i] : 200;
      for (const auto& row : runner.step({{slice(ids, begin, end), begin, {0, 1, 2, 3}, 200}}))
        parts.push_back(row);
      begin = end;
    }
    INFO("the first cut at " << cut[0]);
    CHECK(difference(parts, whole) < kTolerance);
  }
}

TEST_CASE("decoder: dynamic RoPE follows the whole prompt's length, whatever the chunk") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(200, 53, 18);
  const Logits unscaled = one_shot(model, ids);
  nlohmann::json config = model.config();
  config["max_position_embeddings"] = 64;
  config["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 4.0}};
  model.write_config(config);
  const Logits whole = one_shot(model, ids);
  CHECK(difference(whole, unscaled) > 0.01);
  DecoderRunner runner(model);
  Logits parts = runner.step({{slice(ids, 0, 64), 0, {0, 1, 2, 3}, 200}});
  for (const auto& row : runner.step({{slice(ids, 64, 200), 64, {0, 1, 2, 3}, 200}})) parts.push_back(row);
  CHECK(difference(parts, whole) < kTolerance);
  // Within the original length positions are not scaled.
  CHECK(difference(one_shot(model, slice(ids, 0, 64)), Logits(unscaled.begin(), unscaled.begin() + 64)) <
        kTolerance);
}

TEST_CASE("decoder: a page of 16 tokens computes what a page of 128 does") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(130, 53, 4);
  const Logits expected = one_shot(model, ids);
  for (const int64_t page : {16, 128}) {
    RunnerOptions options;
    options.page_tokens = page;
    DecoderRunner runner(model, options);
    CHECK(difference(runner.step({{ids, 0, {0, 1, 2, 3, 4, 5, 6, 7, 8}}}), expected) < kTolerance);
  }
}

TEST_CASE("decoder: tokens decoded one by one equal their prefill, over a page's end") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(130, 53, 5);
  const Logits whole = one_shot(model, ids);
  for (const int64_t n_prompt : {1, 63, 64, 65, 120}) {
    DecoderRunner runner(model);
    Logits found = runner.step({{slice(ids, 0, n_prompt), 0, {0, 1, 2}}});
    for (int64_t i = n_prompt; i < 130; ++i)
      for (const auto& row : runner.step({}, {{slice(ids, i, i + 1), i, {0, 1, 2}}})) found.push_back(row);
    INFO("a prompt of " << n_prompt);
    CHECK(difference(found, whole) < kTolerance);
  }
}

TEST_CASE("decoder: a token decoded as the first of its sequence") {
  const TinyModel model;
  DecoderRunner runner(model);
  const std::vector<int32_t> ids = {17};
  CHECK(difference(runner.step({}, {{ids, 0, {3}}}), one_shot(model, ids)) < kTolerance);
}

TEST_CASE("decoder: two prefills and two decodes in one step equal each alone") {
  const TinyModel model;
  const std::vector<int32_t> a = random_ids(130, 53, 6), b = random_ids(65, 53, 7), c = random_ids(80, 53, 8),
                             d = random_ids(33, 53, 9);
  DecoderRunner runner(model);
  // The step before: a's first page, and all but the last tokens of c and d.
  runner.step({{slice(a, 0, 64), 0, {0}}, {slice(c, 0, 79), 0, {5, 6}}, {slice(d, 0, 32), 0, {9}}});
  const Logits mixed = runner.step({{slice(a, 64, 130), 64, {0, 1, 2}}, {b, 0, {3, 4}}},
                                   {{{c[79]}, 79, {5, 6}}, {{d[32]}, 32, {9}}});
  REQUIRE(mixed.size() == 66 + 65 + 2);
  const Logits alone_a = one_shot(model, a), alone_b = one_shot(model, b);
  CHECK(difference(Logits(mixed.begin(), mixed.begin() + 66), Logits(alone_a.begin() + 64, alone_a.end())) <
        kTolerance);
  CHECK(difference(Logits(mixed.begin() + 66, mixed.begin() + 131), alone_b) < kTolerance);
  CHECK(difference({mixed[131]}, Logits{one_shot(model, c).back()}) < kTolerance);
  CHECK(difference({mixed[132]}, Logits{one_shot(model, d).back()}) < kTolerance);
}

TEST_CASE("decoder: some rows' logits are those rows of all") {
  const TinyModel model;
  const std::vector<int32_t> a = random_ids(100, 53, 10), b = random_ids(70, 53, 11),
                             c = random_ids(20, 53, 12);
  const std::vector<Part> prefills = {{a, 0, {0, 1}}, {b, 0, {2, 3}}};
  const std::vector<Part> decodes = {{{c[19]}, 19, {4}}};
  DecoderRunner runner(model);
  runner.step({{slice(c, 0, 19), 0, {4}}});
  const Logits all = runner.step(prefills, decodes);
  REQUIRE(all.size() == 171);
  const std::vector<std::vector<int64_t>> subsets = {
      {0},       {99},  {100}, {169},          {170},         {63, 64},          {64},
      {163},     {164}, {165}, {99, 169, 170}, {0, 100, 170}, {5, 66, 140, 141}, {170},
      {128, 129}};
  for (const std::vector<int64_t>& rows : subsets) {
    INFO("rows " << rows.front() << " to " << rows.back());
    CHECK(difference(runner.step(prefills, decodes, rows), rows_of(all, rows)) < kTolerance);
  }
}

TEST_CASE("decoder: without logits the cache is filled all the same") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(100, 53, 13);
  DecoderRunner runner(model);
  CHECK(runner.step_without_logits({{slice(ids, 0, 64), 0, {0, 1}, 100}}) == 0);
  const Logits rest = runner.step({{slice(ids, 64, 100), 64, {0, 1}}});
  const Logits whole = one_shot(model, ids);
  CHECK(difference(rest, Logits(whole.begin() + 64, whole.end())) < kTolerance);
}

TEST_CASE("decoder: logits come in rounds of at most n_logits rows, until the callback has enough") {
  const TinyModel model;
  RunnerOptions options;
  options.n_logits = 4;
  DecoderRunner runner(model, options);
  std::vector<std::pair<int64_t, int64_t>> rounds;
  runner.on_logits([&](int64_t first, int64_t n_rows) {
    rounds.emplace_back(first, n_rows);
    return true;
  });
  const std::vector<int32_t> ids = random_ids(10, 53, 14);
  const Logits all = runner.step({{ids, 0, {0}}});
  CHECK(rounds == std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, 4}, {8, 2}});
  rounds.clear();
  CHECK(runner.step({{ids, 0, {0}}}, {}, {1, 3, 5, 7}).size() == 4);
  CHECK(rounds == std::vector<std::pair<int64_t, int64_t>>{{0, 4}});
  runner.on_logits([](int64_t first, int64_t) { return first < 4; });
  CHECK(difference(runner.step({{ids, 0, {0}}}), Logits(all.begin(), all.begin() + 8)) < kTolerance);
}

TEST_CASE("decoder: scattered pages, with another sequence's keys left in them") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(150, 53, 15);
  const Logits whole = one_shot(model, ids);
  DecoderRunner runner(model);
  runner.fill_pages(1000.0F);
  const std::vector<int32_t> pages = {11, 2, 7};
  Logits found = runner.step({{slice(ids, 0, 140), 0, pages}});
  for (int64_t i = 140; i < 150; ++i)
    for (const auto& row : runner.step({}, {{slice(ids, i, i + 1), i, pages}})) found.push_back(row);
  CHECK(difference(found, whole) < kTolerance);
}

TEST_CASE("decoder: any number of threads gives the same logits") {
  const TinyModel model;
  const std::vector<int32_t> ids = random_ids(100, 53, 16);
  RunnerOptions options;
  const Logits two = one_shot(model, ids);
  for (const int n_threads : {1, 3}) {
    options.n_threads = n_threads;
    DecoderRunner runner(model, options);
    CHECK(difference(runner.step({{ids, 0, {0, 1}}}), two) < kTolerance);
  }
}

TEST_CASE("decoder: dense segments count every causal block of every layer and head") {
  const TinyModel model;  // 2 layers of 4 heads
  DecoderRunner runner(model);
  struct Case {
    int64_t n_tokens, start, blocks;
  };
  for (const Case& c : {Case{1, 0, 1}, Case{63, 0, 1}, Case{64, 0, 1}, Case{65, 0, 3}, Case{127, 0, 3},
                        Case{129, 0, 6}, Case{64, 64, 2}, Case{65, 128, 3 + 4}}) {
    INFO(c.n_tokens << " tokens from " << c.start);
    runner.step({{random_ids(c.n_tokens, 53, 17), c.start, {0, 1, 2, 3}}});
    CHECK(runner.stats().causal_blocks == c.blocks * 8);
    CHECK(runner.stats().kept_blocks == c.blocks * 8);
  }
  runner.step({}, {{{1}, 5, {0}}});
  CHECK(runner.stats().causal_blocks == 0);
}

}  // namespace
}  // namespace seer
