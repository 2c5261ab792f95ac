// A prompt divided among ranks by its tokens gives the same results as on one rank.
#include <cmath>
#include <map>
#include <utility>

#include "tests/models/ranked_runner.h"
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
using testing::RunnerOptions;
using testing::TinyGates;
using testing::TinyModel;
using testing::TinyShape;

// Products with another number of rows add in another order.
constexpr double kDividedTolerance = 2e-5;
constexpr int64_t kDividedBlock = 16;
constexpr int64_t kDividedPages = 48;  // on all ranks together

// Puts block b into a page of owners[b]. An owner's pages are taken from the last to the first.
std::vector<int32_t> pages_of(const std::vector<int>& owners, int n_ranks, int64_t n_skipped = 0) {
  const auto per_rank = static_cast<int32_t>(kDividedPages / n_ranks);
  std::vector<int32_t> left(static_cast<size_t>(n_ranks), per_rank - static_cast<int32_t>(n_skipped));
  std::vector<int32_t> pages;
  pages.reserve(owners.size());
  for (const int owner : owners)
    pages.push_back(owner % n_ranks * per_rank + --left[static_cast<size_t>(owner % n_ranks)]);
  return pages;
}

RunnerOptions divided(RunnerOptions options = {}) {
  options.n_pages = kDividedPages;
  options.divided = true;
  return options;
}

RunnerOptions whole(RunnerOptions options = {}) {
  options.n_pages = kDividedPages;
  return options;
}

const std::vector<int> kZigZag = {0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2, 3};

TEST_CASE(
    "context parallel: a dense prompt and its decodes give one rank's logits, whoever owns its blocks") {
  TinyShape tiny;
  tiny.architecture = GENERATE("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM");
  const TinyModel model(tiny);
  const std::vector<int32_t> ids = random_ids(250, 53, 3);
  RunnerOptions options;
  options.page_tokens = kDividedBlock;
  const std::vector<int> all_at_one(16, 1), zig_zag = {0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0};
  for (const auto& owners : {all_at_one, zig_zag})
    for (const int n_ranks : {2, 3, 4}) {
      INFO(n_ranks << " ranks");
      DecoderRunner one(model, whole(options));
      RankedRunner ranked(model, n_ranks, divided(options));
      const std::vector<int32_t> pages = pages_of(owners, n_ranks);
      // First 15 blocks, the last of 13 tokens; then the step continues over the border of a block.
      const Part prompt{{ids.begin(), ids.begin() + 237}, 0, pages};
      CHECK(difference(ranked.step({prompt}), one.step({prompt})) < kDividedTolerance);
      CHECK(ranked.stats().causal_blocks == one.stats().causal_blocks);
      for (int64_t at = 237; at < 243; ++at) {
        const Part next{{ids[static_cast<size_t>(at)]}, at, pages};
        CHECK(difference(ranked.step({}, {next}), one.step({}, {next})) < kDividedTolerance);
      }
    }
}

TEST_CASE("context parallel: prompts shorter than a block and with fewer blocks than ranks") {
  const TinyModel model;
  const GatesDir gates(model);
  for (const int64_t n : {1, 5, 16, 17, 31, 33})
    for (const bool sparse : {false, true}) {
      INFO(n << " tokens, sparse " << sparse);
      DecoderRunner one(model, whole(gates.options()));
      RankedRunner ranked(model, 4, divided(gates.options()));
      Part part{random_ids(n, 53, 4), 0, pages_of({2, 0, 3}, 4)};
      if (sparse)
        part.select =
            SelectRule{SelectRule::Method::kThreshold, 0.4, false, (n + kDividedBlock - 1) / kDividedBlock};
      CHECK(difference(ranked.step({part}), one.step({part})) < kDividedTolerance);
      CHECK(ranked.stats().kept_blocks == one.stats().kept_blocks);
      const Part next{{7}, n, part.pages};
      CHECK(difference(ranked.step({}, {next}), one.step({}, {next})) < kDividedTolerance);
    }
}

using Reports = std::map<std::pair<int64_t, int64_t>, std::pair<std::vector<float>, std::vector<int32_t>>>;

// By layer and block row, of all heads.
GateObserver collect(Reports* into) {
  return [into](const GateReport& r) {
    for (int64_t row = 0; row < r.n_rows; ++row) {
      auto& [scores, kept] = (*into)[{r.layer, r.first_row + row}];
      for (int64_t h = 0; h < r.n_heads; ++h) {
        const int64_t list = h * r.n_rows + row;
        scores.insert(scores.end(), r.scores + list * r.n_blocks, r.scores + (list + 1) * r.n_blocks);
        kept.push_back(-1);  // between lists
        kept.insert(kept.end(), r.blocks + list * r.n_blocks, r.blocks + list * r.n_blocks + r.counts[list]);
      }
    }
  };
}

TEST_CASE("context parallel: sparse chunks give one rank's masks, scores, logits and counts") {
  TinyGates two_weights;
  two_weights.double_linear = true;
  TinyShape tiny;
  tiny.architecture = GENERATE("LlamaForCausalLM", "Qwen3ForCausalLM");
  const TinyModel model(tiny);
  const std::vector<int32_t> ids = random_ids(12 * kDividedBlock - 3, 53, 5);
  const auto n = static_cast<int64_t>(ids.size());
  for (const TinyGates& shape : {TinyGates(), two_weights}) {
    const GatesDir gates(model, shape);
    for (const auto method :
         {SelectRule::Method::kThreshold, SelectRule::Method::kNzRatio, SelectRule::Method::kNzRatioRow})
      for (const bool last_block_dense : {false, true}) {
        const double value = method == SelectRule::Method::kThreshold ? 0.12 : 0.3;
        const SelectRule rule{method, value, last_block_dense, 12};
        const auto chunks = [&](auto& runner, const std::vector<int32_t>& pages, int64_t chunk) {
          Logits all;
          int64_t kept = 0;
          for (int64_t begin = 0; begin < n; begin += chunk) {
            const int64_t end = std::min(n, begin + chunk);
            const Logits part =
                runner.step({{{ids.begin() + begin, ids.begin() + end}, begin, pages, n, rule}});
            all.insert(all.end(), part.begin(), part.end());
            kept += runner.stats().kept_blocks;
          }
          return std::make_pair(all, kept);
        };
        DecoderRunner one(model, whole(gates.options()));
        Reports expected;
        one.on_gate(collect(&expected));
        const auto [logits, kept] = chunks(one, pages_of(kZigZag, 4), 5 * kDividedBlock);
        for (const int n_ranks : {2, 4}) {
          INFO(n_ranks << " ranks, rule " << value << ", last dense " << last_block_dense);
          RankedRunner ranked(model, n_ranks, divided(gates.options()));
          Reports found;
          ranked.leader().on_gate(collect(&found));
          const auto [ranked_logits, ranked_kept] =
              chunks(ranked, pages_of(kZigZag, n_ranks), 5 * kDividedBlock);
          CHECK(difference(ranked_logits, logits) < kDividedTolerance);
          CHECK(ranked_kept == kept);
          REQUIRE(found.size() == expected.size());
          for (const auto& [at, row] : expected) {
            CHECK(found[at].second == row.second);
            CHECK(difference({found[at].first}, std::vector<std::vector<float>>{row.first}) < 1e-5);
          }
          ranked.leader().on_gate({});
          CHECK(difference(chunks(ranked, pages_of(kZigZag, n_ranks), n).first, logits) < kDividedTolerance);
        }
      }
  }
}

TEST_CASE("context parallel: pages that no row of another rank kept do not travel") {
  const TinyModel model;
  const GatesDir gates(model);
  RankedRunner ranked(model, 2, divided(gates.options()));
  // A row keeps only its best block, so there are never more pages than rows and heads.
  const SelectRule one_block{SelectRule::Method::kNzRatio, 0.001, false, 12};
  const std::vector<int32_t> pages = pages_of(kZigZag, 2);
  const Part part{random_ids(12 * kDividedBlock, 53, 5), 0, pages, 0, one_block};
  ranked.step({part});
  const DecoderStats sparse = ranked.stats();
  CHECK(sparse.moved_pages < sparse.movable_pages);
  Part dense = part;
  dense.select = std::nullopt;
  ranked.step({dense});
  CHECK(ranked.stats().moved_pages == ranked.stats().movable_pages);
  CHECK(ranked.stats().movable_pages == sparse.movable_pages);
  // All pages are on one rank, so none has to travel.
  Part alone = dense;
  alone.pages = pages_of(std::vector<int>(12, 1), 2);
  ranked.step({alone});
  CHECK(ranked.stats().movable_pages == 0);
}

TEST_CASE("context parallel: prefills and decodes of several sequences in one step") {
  const TinyModel model;
  const GatesDir gates(model);
  DecoderRunner one(model, whole(gates.options()));
  RankedRunner ranked(model, 2, divided(gates.options()));
  const std::vector<int32_t> first = pages_of({0, 1, 1, 0}, 2), second = pages_of({0, 1, 1, 0, 0}, 2, 8),
                             third = pages_of({1, 0, 1}, 2, 16);
  const SelectRule rule{SelectRule::Method::kThreshold, 0.2, false, 5};
  const Part decoding{random_ids(40, 53, 1), 0, first}, other{random_ids(31, 53, 2), 0, third};
  const Part sparse{random_ids(70, 53, 2), 0, second, 70, rule};
  CHECK(difference(ranked.step({decoding, other}), one.step({decoding, other})) < kDividedTolerance);
  const std::vector<Part> decodes = {{{7}, 40, first}, {{9}, 31, third}};
  const std::vector<int64_t> rows = {3, 69, 70, 71};
  CHECK(difference(ranked.step({sparse}, decodes, rows), one.step({sparse}, decodes, rows)) <
        kDividedTolerance);
  const std::vector<Part> next = {{{8}, 41, first}, {{5}, 32, third}};
  CHECK(difference(ranked.step({}, next), one.step({}, next)) < kDividedTolerance);
}

TEST_CASE("context parallel: a rank's decodes run on over pages that other ranks append") {
  const TinyModel model;
  const GatesDir gates(model);
  for (const int n_ranks : {2, 3, 4}) {
    INFO(n_ranks << " ranks");
    DecoderRunner one(model, whole(gates.options()));
    RankedRunner ranked(model, n_ranks, divided(gates.options()));
    // Pages that were not written are NaN, so attending to another rank's page shows.
    one.fill_pages(NAN);
    ranked.fill_pages(NAN);
    // Decodes open blocks 1 to 5, each on another rank than the one before.
    const std::vector<int32_t> pages = pages_of({0, 1, 2, 3, 2, 1}, n_ranks);
    const std::vector<int32_t> ids = random_ids(6 * kDividedBlock, 53, 7);
    const Part prompt{{ids.begin(), ids.begin() + 10}, 0, pages};
    CHECK(difference(ranked.step({prompt}), one.step({prompt})) < kDividedTolerance);
    double worst = 0.0;
    for (int64_t at = 10; at < 6 * kDividedBlock; ++at) {
      const Part next{{ids[static_cast<size_t>(at)]}, at, pages};
      worst = std::max(worst, difference(ranked.step({}, {next}), one.step({}, {next})));
    }
    CHECK(worst < kDividedTolerance);
    // A page written by decodes is like any other: a prompt continues after all six.
    std::vector<int32_t> longer = pages;
    longer.push_back(pages_of({3}, n_ranks, 6).front());
    const Part more{random_ids(9, 53, 8), 6 * kDividedBlock, longer};
    CHECK(difference(ranked.step({more}), one.step({more})) < kDividedTolerance);
  }
}

TEST_CASE("context parallel: sequences that decode together, some without pages on a rank") {
  const TinyModel model;
  RunnerOptions options;
  options.page_tokens = kDividedBlock;
  for (const int n_ranks : {2, 4}) {
    INFO(n_ranks << " ranks");
    DecoderRunner one(model, whole(options));
    RankedRunner ranked(model, n_ranks, divided(options));
    one.fill_pages(NAN);
    ranked.fill_pages(NAN);
    // Some sequences are on one rank each, some on two and on all. The third begins a page as it decodes, the
    // last begins with nothing.
    const std::vector<std::vector<int32_t>> pages = {pages_of({1, 1, 1}, n_ranks), pages_of({0, 0}, n_ranks),
                                                     pages_of({0, 1, 0}, n_ranks, 3),
                                                     pages_of({0, 1, 2, 3}, n_ranks, 6)};
    std::vector<int64_t> lengths = {33, 5, 32, 0};
    for (size_t i = 0; i < 3; ++i) {
      const Part prompt{random_ids(lengths[i], 53, i), 0, pages[i]};
      CHECK(difference(ranked.step({prompt}), one.step({prompt})) < kDividedTolerance);
    }
    for (int32_t round = 0; round < 12; ++round) {
      std::vector<Part> decodes;
      for (size_t i = 0; i < pages.size(); ++i)
        decodes.push_back({{7 * round + static_cast<int32_t>(i)}, lengths[i]++, pages[i]});
      for (Part& part : decodes) part.ids.front() %= 53;
      CHECK(difference(ranked.step({}, decodes), one.step({}, decodes)) < kDividedTolerance);
      if (round % 4 != 3) continue;
      // Logits of only some rows are wanted, and of none of the decodes.
      for (Part& part : decodes) part.start = lengths[static_cast<size_t>(&part - decodes.data())]++;
      const std::vector<int64_t> rows = {1, 3};
      CHECK(difference(ranked.step({}, decodes, rows), one.step({}, decodes, rows)) < kDividedTolerance);
    }
  }
}

TEST_CASE("context parallel: decodes next to chunks of a prompt, whoever computes those") {
  const TinyModel model;
  const GatesDir gates(model);
  const SelectRule rule{SelectRule::Method::kThreshold, 0.2, true, 6};
  for (const int n_ranks : {2, 4})
    for (const bool sparse : {false, true}) {
      INFO(n_ranks << " ranks, sparse " << sparse);
      DecoderRunner one(model, whole(gates.options()));
      RankedRunner ranked(model, n_ranks, divided(gates.options()));
      one.fill_pages(NAN);
      ranked.fill_pages(NAN);
      const std::vector<int32_t> prompt_pages = pages_of({0, 1, 2, 3, 3, 2}, n_ranks),
                                 first = pages_of({1, 0}, n_ranks, 6), second = pages_of({0, 3}, n_ranks, 8);
      const std::vector<int32_t> ids = random_ids(6 * kDividedBlock - 5, 53, 9);
      const std::vector<Part> prompts = {{random_ids(14, 53, 1), 0, first},
                                         {random_ids(3, 53, 2), 0, second}};
      CHECK(difference(ranked.step(prompts), one.step(prompts)) < kDividedTolerance);
      // Chunks of two blocks are rows of one or two ranks; the others have none.
      int64_t at = 0;
      for (int64_t step = 0; step < 3; ++step) {
        const int64_t begin = step * 2 * kDividedBlock,
                      end = std::min(begin + 2 * kDividedBlock, static_cast<int64_t>(ids.size()));
        Part chunk{
            {ids.begin() + begin, ids.begin() + end}, begin, prompt_pages, static_cast<int64_t>(ids.size())};
        if (sparse) chunk.select = rule;
        const std::vector<Part> decodes = {{{5}, 14 + at, first}, {{6}, 3 + at, second}};
        ++at;
        const int64_t n = end - begin;
        const std::vector<int64_t> rows = step == 0   ? std::vector<int64_t>{n, n + 1}
                                          : step == 1 ? std::vector<int64_t>{0, n - 1, n + 1}
                                                      : std::vector<int64_t>{n - 1};
        CHECK(difference(ranked.step({chunk}, decodes, rows), one.step({chunk}, decodes, rows)) <
              kDividedTolerance);
        CHECK(ranked.stats().kept_blocks == one.stats().kept_blocks);
      }
      const std::vector<Part> next = {{{8}, 14 + at, first}, {{9}, 3 + at, second}};
      CHECK(difference(ranked.step({}, next), one.step({}, next)) < kDividedTolerance);
    }
}

TEST_CASE("context parallel: a decode's pages stay where they are") {
  const TinyModel model;
  RunnerOptions options;
  options.page_tokens = kDividedBlock;
  RankedRunner ranked(model, 2, divided(options));
  const std::vector<int32_t> pages = pages_of({0, 1, 1, 0}, 2);
  ranked.step({{random_ids(40, 53, 1), 0, pages}});
  CHECK(ranked.stats().moved_pages > 0);
  ranked.step({}, {{{7}, 40, pages}});
  CHECK(ranked.stats().movable_pages == 0);
}

TEST_CASE("context parallel: logits of some rows, of none, and a reader that stops") {
  const TinyModel model;
  RunnerOptions options;
  options.page_tokens = kDividedBlock;
  RankedRunner ranked(model, 2, divided(options));
  const Part part{random_ids(100, 53, 1), 0, pages_of({0, 0, 1, 1, 1, 1, 0}, 2)};
  CHECK(ranked.step({part}).size() == 100);
  std::vector<int64_t> rounds;
  ranked.leader().on_logits([&](int64_t first, int64_t) {
    rounds.push_back(first);
    return rounds.size() < 2;
  });
  CHECK(ranked.step({part}).size() == 14);
  CHECK(rounds == std::vector<int64_t>{0, 7});
  ranked.leader().on_logits([](int64_t, int64_t) -> bool { throw std::logic_error("no more"); });
  ranked.step({part});
  CHECK(ranked.thrown() == "no more");
  ranked.leader().on_logits({});
  DecoderRunner one(model, whole(options));
  CHECK(difference(ranked.step({part}, {}, {99}), one.step({part}, {}, {99})) < kDividedTolerance);
}

}  // namespace
}  // namespace seer
