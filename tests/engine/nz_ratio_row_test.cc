// nz_ratio_row in the engine: the kept blocks, by a formula of the test's own, and the rows that a second
// turn computes.
#include <cmath>
#include <map>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kPage = 64;

struct Rows {
  int64_t n_heads = 0, n_blocks = 0;
  std::map<std::pair<int64_t, int64_t>, std::vector<uint8_t>> masks;  // [layer, row]: of all heads
};

// Also checks that each row kept the blocks with its best reported scores.
Rows rows_of(Engine& engine, const Ids& prompt, const SparseRule& rule) {
  Rows out;
  EvaluateRequest request;
  request.tokens = prompt;
  request.sparse = rule;
  request.on_gate = [&](const GateRows& rows) {
    out.n_heads = rows.n_heads;
    out.n_blocks = rows.n_blocks;
    for (int64_t list = 0; list < rows.n_heads * rows.n_rows; ++list) {
      const uint8_t* mask = rows.mask + list * rows.n_blocks;
      const float* scores = rows.scores + list * rows.n_blocks;
      const int64_t row = rows.first_row + list % rows.n_rows;
      float lowest_kept = INFINITY, highest_dropped = -INFINITY;
      for (int64_t j = 0; j <= row; ++j) {
        if (mask[j] != 0) lowest_kept = std::min(lowest_kept, scores[j]);
        if (mask[j] == 0) highest_dropped = std::max(highest_dropped, scores[j]);
      }
      CHECK(highest_dropped <= lowest_kept);
      std::vector<uint8_t>& all = out.masks[{rows.layer, row}];
      all.insert(all.end(), mask, mask + rows.n_blocks);
    }
  };
  engine.new_session()->evaluate(request);
  return out;
}

TEST_CASE("under nz_ratio_row a row keeps its share of its own blocks, and the last two rows all") {
  const auto engine = load_demo(1024, 256);
  const Ids prompt = document(1000);
  for (const double ratio : {0.01, 0.25, 0.5, 1.0}) {
    const Rows rows = rows_of(*engine, prompt, {SparseRule::Method::kNzRatioRow, ratio});
    REQUIRE(rows.n_blocks == 16);
    REQUIRE(rows.masks.size() == 6 * 16);
    for (const auto& [at, mask] : rows.masks) {
      const int64_t row = at.second;
      INFO("ratio " << ratio << ", layer " << at.first << ", row " << row);
      const auto share = static_cast<int64_t>(std::floor(ratio * static_cast<double>(row + 1)));
      const int64_t expected = row >= 14 ? row + 1 : std::max<int64_t>(1, share);
      CHECK(std::count(mask.begin(), mask.end(), 1) == expected * rows.n_heads);
    }
  }
}

TEST_CASE("under nz_ratio_row a longer prompt keeps the rows of a shorter one, under nz_ratio it does not") {
  const auto engine = load_demo(1024, 256);
  const auto unlike = [&](const SparseRule& rule) {
    const Rows a = rows_of(*engine, document(600), rule), b = rows_of(*engine, document(1000), rule);
    int64_t n = 0;
    for (const auto& [at, mask] : a.masks) {
      if (at.second >= a.n_blocks - 2) continue;  // dense there
      const std::vector<uint8_t>& other = b.masks.at(at);
      for (int64_t h = 0; h < a.n_heads; ++h)
        for (int64_t j = 0; j < a.n_blocks; ++j)
          n += mask[static_cast<size_t>(h * a.n_blocks + j)] != other[static_cast<size_t>(h * b.n_blocks + j)]
                   ? 1
                   : 0;
    }
    return n;
  };
  CHECK(unlike(SparseRule::parse("nz_ratio_row=0.5")) == 0);
  CHECK(unlike(SparseRule::parse("nz_ratio=0.5")) > 0);
}

TEST_CASE("under nz_ratio_row a second turn computes its own tokens and the first one's dense rows") {
  const auto engine = load_demo(2048);
  const Ids text = document(1500);
  const SparseRule rule = SparseRule::parse("nz_ratio_row=0.3");
  const auto session = engine->new_session();
  session->generate(greedy(slice(text, 0, 16 * kPage), 0, rule));
  const GenerateResult second = session->generate(greedy(slice(text, 16 * kPage, 1500), 8, rule));
  CHECK(second.stats.n_cached == 14 * kPage);
  CHECK(second.stats.n_prompt == 1500 - 14 * kPage);
  session->reset();
  const GenerateResult one_shot = session->generate(greedy(slice(text, 0, 1500), 8, rule));
  CHECK(one_shot.stats.n_cached == 0);
  CHECK(second.tokens == one_shot.tokens);
}

}  // namespace
}  // namespace seer
