// Gates for decoding whose pages are divided among ranks choose what they choose on one rank, whoever owns
// the pages.
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "tests/models/ranked_runner.h"
#include "tests/support/catch.h"
#include "tests/support/decode_goldens.h"

namespace seer {
namespace {

using testing::DecodeGolden;
using testing::DecoderRunner;
using testing::difference;
using testing::Part;
using testing::RankedRunner;
using testing::RunnerOptions;

constexpr int64_t kPoolPages = 48;  // on all ranks together
// Matrix products with another number of rows add in another order, and logits are as large as 20.
constexpr double kLogitsOfRanks = 1e-4;

// A step's choices, by layer and list: [n_kv_heads * n_decodes].
using Choices = std::map<int64_t, std::vector<std::vector<int32_t>>>;

DecodeGateObserver collect_choices(Choices* into) {
  return [into](const DecodeGateReport& r) {
    std::vector<std::vector<int32_t>>& lists = (*into)[r.layer];
    lists.clear();
    for (int64_t i = 0; i < r.n_kv_heads * r.n_decodes; ++i)
      lists.emplace_back(r.blocks + i * r.capacity, r.blocks + i * r.capacity + r.counts[i]);
  };
}

// A sequence of the test. Block b of it lies in a page of rank owner(b).
struct Sequence {
  std::vector<int32_t> ids, pages;
  int64_t n_done = 0;
  DecodeRule rule;

  Part next(int64_t n) {
    Part part{{ids.begin() + n_done, ids.begin() + n_done + n}, n_done, pages};
    part.decode = rule;
    n_done += n;
    return part;
  }
};

// Sequences under a budget, a threshold and the dense rule.
std::vector<Sequence> sequences_of(const DecodeGolden& golden, int n_ranks,
                                   const std::function<int(int64_t block)>& owner) {
  using Method = DecodeRule::Method;
  const DecodeRule rules[] = {{Method::kBudget, 48.0}, {Method::kThreshold, 0.08}, {}};
  std::vector<int32_t> left(static_cast<size_t>(n_ranks), 0);
  std::vector<Sequence> sequences;
  for (int64_t i = 0; i < 3; ++i) {
    Sequence& s = sequences.emplace_back();
    s.ids.assign(golden.input_ids.begin() + 20 * i, golden.input_ids.begin() + 20 * i + 160);
    s.rule = rules[i];
    for (int64_t b = 0; b < 10; ++b) {
      const int rank = owner(b + i) % n_ranks;
      s.pages.push_back(static_cast<int32_t>(rank * (kPoolPages / n_ranks)) +
                        left[static_cast<size_t>(rank)]++);
    }
  }
  return sequences;
}

void check_ranks(const DecodeGolden& golden, int n_ranks, const std::function<int(int64_t block)>& owner) {
  RunnerOptions options;
  options.page_tokens = golden.block;
  options.gates = golden.gates_dir;
  options.n_pages = kPoolPages;
  DecoderRunner one(golden.model_dir, options);
  options.divided = true;
  RankedRunner ranked(golden.model_dir, n_ranks, options);
  Choices expected, found;
  one.on_decode_gate(collect_choices(&expected));
  ranked.leader().on_decode_gate(collect_choices(&found));
  const auto check_step = [&](const std::vector<Part>& prefills, const std::vector<Part>& decodes) {
    CHECK(difference(ranked.step(prefills, decodes), one.step(prefills, decodes)) < kLogitsOfRanks);
    CHECK(found == expected);
    const std::vector<DecoderStats>&mine = ranked.leader().decode_stats(), &theirs = one.decode_stats();
    REQUIRE(mine.size() == theirs.size());
    for (size_t i = 0; i < mine.size(); ++i) {
      CHECK(mine[i].kept_blocks == theirs[i].kept_blocks);
      CHECK(mine[i].causal_blocks == theirs[i].causal_blocks);
    }
  };
  std::vector<Sequence> s = sequences_of(golden, n_ranks, owner);
  check_step({s[0].next(101), s[1].next(80)}, {});
  check_step({}, {s[0].next(1), s[1].next(1)});
  check_step({s[2].next(63)}, {s[0].next(1), s[1].next(1)});  // a step of a prompt and two decodes
  for (int64_t i = 0; i < 30; ++i) check_step({}, {s[0].next(1), s[1].next(1), s[2].next(1)});
  CHECK(expected.size() == static_cast<size_t>(golden.n_layers));
}

TEST_CASE("decode gates over pages of several ranks choose as on one, whoever owns the blocks") {
  const auto golden = DecodeGolden::read("r-llama");
  if (!golden) return;
  for (const int n_ranks : {2, 3}) {
    INFO(n_ranks << " ranks");
    check_ranks(*golden, n_ranks, [](int64_t block) { return static_cast<int>(block); });
    check_ranks(*golden, n_ranks, [](int64_t block) { return static_cast<int>(block * block / 3); });
  }
  // Rank 0 owns only the last blocks.
  check_ranks(*golden, 2, [](int64_t block) { return block < 9 ? 1 : 0; });
}

}  // namespace
}  // namespace seer
