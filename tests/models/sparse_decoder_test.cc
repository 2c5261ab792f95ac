// The forward pass with gates attends to kept blocks only. (tests/engine/golden_test.cc checks which blocks
// the official gate code keeps.)
#include <algorithm>
#include <cmath>
#include <map>

#include "models/page_images.h"
#include "tests/models/decoder_runner.h"
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
using testing::reference_forward;
using testing::TinyGates;
using testing::TinyModel;
using testing::TinyShape;

constexpr double kSparseTolerance = 2e-5;
constexpr int64_t kSparseBlock = 16;

SelectRule rule(SelectRule::Method method, double value, int64_t n_tokens) {
  return {method, value, /*last_block_dense=*/false, (n_tokens + kSparseBlock - 1) / kSparseBlock};
}

// The kept blocks and their number, from the observer's reports.
struct Kept {
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::vector<bool>> rows;  // by layer, head, query block
  int64_t count = 0;

  GateObserver observer() {
    return [this](const GateReport& r) {
      for (int64_t h = 0; h < r.n_heads; ++h)
        for (int64_t i = 0; i < r.n_rows; ++i) {
          std::vector<bool>& row = rows[{r.layer, h, r.first_row + i}];
          row.assign(static_cast<size_t>(r.n_blocks), false);
          const int64_t n = r.counts[h * r.n_rows + i];
          for (int64_t k = 0; k < n; ++k)
            row[static_cast<size_t>(r.blocks[(h * r.n_rows + i) * r.n_blocks + k])] = true;
          count += n;
        }
    };
  }
  bool sees(int64_t layer, int64_t head, int64_t i, int64_t j) const {
    return rows.at({layer, head, i / kSparseBlock})[static_cast<size_t>(j / kSparseBlock)];
  }
};

const std::vector<int32_t> kSparsePages = {4, 0, 7, 2, 9, 1, 3, 5, 8};

TEST_CASE("sparse decoder: attention over the kept blocks equals the float64 one over the same") {
  const std::string family = GENERATE("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM");
  TinyShape tiny;
  tiny.architecture = family;
  const TinyModel model(tiny);
  TinyGates two_weights;
  two_weights.double_linear = true;
  two_weights.d_gate = 12;
  for (const TinyGates& shape : {TinyGates(), two_weights}) {
    const GatesDir gates(model, shape);
    for (const int64_t n : {17, 64, 127}) {
      for (const SelectRule& select :
           {rule(SelectRule::Method::kThreshold, 0.2, n), rule(SelectRule::Method::kNzRatio, 0.4, n),
            rule(SelectRule::Method::kNzRatioRow, 0.4, n)}) {
        INFO(family << ", " << n << " tokens");
        DecoderRunner runner(model, gates.options());
        Kept kept;
        runner.on_gate(kept.observer());
        const std::vector<int32_t> ids = random_ids(n, 53, 21);
        const Logits found = runner.step({{ids, 0, kSparsePages, n, select}});
        const auto expected = reference_forward(
            model, ids, [&](int64_t l, int64_t h, int64_t i, int64_t j) { return kept.sees(l, h, i, j); });
        CHECK(difference(found, expected) < kSparseTolerance);
        CHECK(runner.stats().kept_blocks == kept.count);
        const int64_t n_rows = (n + kSparseBlock - 1) / kSparseBlock;
        CHECK(runner.stats().causal_blocks == n_rows * (n_rows + 1) / 2 * 8);
        CHECK(kept.count >= n_rows * 8);  // no row is empty
        if (n == 127) CHECK(kept.count < runner.stats().causal_blocks * 3 / 4);
      }
    }
  }
}

TEST_CASE("sparse decoder: a rule that keeps everything equals dense") {
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> ids = random_ids(100, 53, 22);
  DecoderRunner runner(model, gates.options());
  const Logits dense = runner.step({{ids, 0, kSparsePages}});
  for (const SelectRule& select :
       {rule(SelectRule::Method::kThreshold, 0.0, 100), rule(SelectRule::Method::kNzRatio, 1.0, 100),
        rule(SelectRule::Method::kNzRatioRow, 1.0, 100)}) {
    CHECK(difference(runner.step({{ids, 0, kSparsePages, 100, select}}), dense) < kSparseTolerance);
    CHECK(runner.stats().kept_blocks == runner.stats().causal_blocks);
  }
}

TEST_CASE("sparse decoder: chunks select the same blocks as one shot and give the same logits") {
  const TinyModel model;
  const GatesDir gates(model);
  const int64_t n = 130;
  const std::vector<int32_t> ids = random_ids(n, 53, 23);
  for (const SelectRule& select :
       {rule(SelectRule::Method::kThreshold, 0.2, n), rule(SelectRule::Method::kNzRatio, 0.4, n),
        rule(SelectRule::Method::kNzRatioRow, 0.4, n)}) {
    DecoderRunner runner(model, gates.options());
    Kept whole_kept;
    runner.on_gate(whole_kept.observer());
    const Logits whole = runner.step({{ids, 0, kSparsePages, n, select}});
    for (const int64_t chunk : {16, 48, 64}) {
      INFO("chunks of " << chunk);
      DecoderRunner chunked(model, gates.options());
      Kept kept;
      chunked.on_gate(kept.observer());
      Logits parts;
      for (int64_t begin = 0; begin < n; begin += chunk) {
        const int64_t end = std::min(n, begin + chunk);
        const std::vector<int32_t> part(ids.begin() + begin, ids.begin() + end);
        for (const auto& row : chunked.step({{part, begin, kSparsePages, n, select}})) parts.push_back(row);
      }
      CHECK(kept.rows == whole_kept.rows);
      CHECK(difference(parts, whole) < kSparseTolerance);
    }
  }
}

TEST_CASE("sparse decoder: pages may be filled layer by layer, each before its attention") {
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> ids = random_ids(140, 53, 7);
  const std::vector<int32_t> filled(kSparsePages.begin(), kSparsePages.begin() + 6);
  for (const bool sparse : {false, true}) {
    INFO((sparse ? "sparse" : "dense"));
    std::optional<SelectRule> select;
    if (sparse) select = rule(SelectRule::Method::kThreshold, 0.2, 140);
    const Part first{{ids.begin(), ids.begin() + 96}, 0, kSparsePages, 140, select};
    const Part rest{{ids.begin() + 96, ids.end()}, 96, kSparsePages, 140, select};
    const Part decode{{11}, 140, kSparsePages};
    DecoderRunner runner(model, gates.options());
    runner.step({first});
    const PageImages images(&runner.backend(), &runner.cache());
    const auto size = static_cast<size_t>(images.image_bytes());
    std::vector<std::byte> bytes(filled.size() * size);
    std::vector<std::byte*> records;
    for (size_t i = 0; i < filled.size(); ++i) records.push_back(bytes.data() + i * size);
    const std::vector<const std::byte*> constant(records.begin(), records.end());
    const auto copier = images.make_copier();
    copier->read(filled, records);
    const Logits expected = runner.step({rest}), expected_decode = runner.step({}, {decode});

    int64_t n_filled = 0;
    runner.before_attention([&](int64_t layer) {
      CHECK(layer == n_filled++ % images.n_layers());
      copier->write(filled, constant, images.parts_of_layers(layer, layer + 1));
    });
    runner.fill_pages(NAN);
    CHECK(runner.step({rest}) == expected);
    CHECK(n_filled == images.n_layers());
    // A decode may be the first that needs them.
    const std::vector<std::byte> nans(size, std::byte{0xFF});
    copier->write(filled, std::vector<const std::byte*>(filled.size(), nans.data()));
    CHECK(runner.step({}, {decode}) == expected_decode);
  }
}

TEST_CASE("sparse decoder: a sparse, a dense and a decoding sequence in one step equal each alone") {
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> a = random_ids(90, 53, 24), b = random_ids(37, 53, 25),
                             c = random_ids(20, 53, 26);
  const std::vector<int32_t> a_pages = {0, 1, 2, 3, 4, 5}, b_pages = {6, 7, 8}, c_pages = {9, 10};
  const SelectRule select = rule(SelectRule::Method::kThreshold, 0.2, 90);
  const Part sparse = {a, 0, a_pages, 90, select}, dense = {b, 0, b_pages}, decode = {{c[19]}, 19, c_pages};
  const Part before = {std::vector<int32_t>(c.begin(), c.end() - 1), 0, c_pages};

  DecoderRunner alone(model, gates.options());
  const Logits sparse_alone = alone.step({sparse});
  const int64_t kept = alone.stats().kept_blocks;
  const Logits dense_alone = alone.step({dense});
  alone.step({before});
  const Logits decode_alone = alone.step({}, {decode});

  for (const bool sparse_first : {true, false}) {
    DecoderRunner runner(model, gates.options());
    runner.step({before});
    const Logits mixed = runner.step(
        sparse_first ? std::vector<Part>{sparse, dense} : std::vector<Part>{dense, sparse}, {decode});
    REQUIRE(mixed.size() == 128);
    const auto first_of = [&](bool first, size_t other) {
      return mixed.begin() + (first ? 0 : static_cast<std::ptrdiff_t>(other));
    };
    const auto a_begin = first_of(sparse_first, b.size()), b_begin = first_of(!sparse_first, a.size());
    CHECK(difference(Logits(a_begin, a_begin + 90), sparse_alone) < kSparseTolerance);
    CHECK(difference(Logits(b_begin, b_begin + 37), dense_alone) < kSparseTolerance);
    CHECK(difference({mixed.back()}, decode_alone) < kSparseTolerance);
    CHECK(runner.stats().kept_blocks == kept + 6 * 8);  // b has 3 blocks, 6 of them causal
  }
}

}  // namespace
}  // namespace seer
