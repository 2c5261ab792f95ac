// The cases of gates for decoding: the keys of pages, and the choice of blocks.
#include "tests/kernels/decode_gate_cases.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/kernels/paged_cases.h"

namespace seer::testing {
namespace {

using Method = DecodeRule::Method;

// Groups of 1, 4, 8, 7 and 5 query heads for a KV head, blocks of every size that gates have, and the head
// sizes of published models among others.
constexpr PagedShape kGateShapes[] = {{8, 2, 64, 64},   {3, 3, 64, 16},   {8, 2, 128, 64}, {8, 1, 128, 32},
                                      {28, 4, 128, 64}, {14, 2, 64, 32},  {10, 2, 96, 16}, {2, 2, 8, 32},
                                      {2, 1, 256, 16},  {32, 8, 128, 16}, {7, 1, 64, 16}};
constexpr GatePools kAllPools{true, true, true};

// A gate's weights for the norm of its queries or of its keys.
HostTensor norm_weight(Random& random, int64_t d_gate, DType stored) {
  return make_norms(random, d_gate, stored, 0.0).k;
}

HostTensor projection(Random& random, DType stored, int64_t n_heads, int64_t d_in, int64_t d_gate) {
  return random.tensor(stored, {n_heads, d_in, d_gate}, 2.0F / std::sqrt(static_cast<float>(d_in)));
}

struct StoreGate {
  GatePools pools = kAllPools;
  DType weights = DType::kBF16;
  bool has_norm = true, rotates = true;
  double scaling = 1.0;
};

StoreDecodeKeysCase make_store_case(Random& random, CaseTypes types, const PagedShape& shape,
                                    const std::vector<Run>& prefills, const std::vector<int64_t>& decodes,
                                    const StoreGate& gate) {
  StoreDecodeKeysCase c;
  set_shape(&c, shape);
  lay_out(&c, random, prefills, decodes);
  c.k = make_pool(c, random, types.kv, 2.0F, [](const CaseSegment& s) { return s.end(); });
  c.k_pools = gate.pools;
  c.linear_k = projection(random, gate.weights, c.n_kv_heads, gate.pools.count() * c.d_head, c.d_head);
  if (gate.has_norm) c.k_norm = norm_weight(random, c.d_head, gate.weights);
  c.rotates = gate.rotates;
  c.scaling = gate.scaling;
  c.name += ", " + c.linear_k.description() + (gate.has_norm ? ", norm" : "") +
            (gate.rotates ? ", rotates" : "") + ", scaling " + std::to_string(gate.scaling) + ", K" +
            (gate.pools.max ? "max" : "") + (gate.pools.min ? "min" : "") + (gate.pools.avg ? "avg" : "");
  return c;
}

// Puts n_pages further pages before the pages of decode i of the case. All of them are one page that is NaN,
// because the operation must read only the page that the decode fills.
void move_behind(StoreDecodeKeysCase* c, size_t i, int64_t n_pages) {
  CaseSegment& s = c->decodes[i];
  std::vector<bool> used(static_cast<size_t>(c->n_pages), false);
  for (const std::vector<CaseSegment>* segments : {&c->prefills, &c->decodes})
    for (const CaseSegment& other : *segments)
      for (const int32_t id : other.page_table) used[static_cast<size_t>(id)] = true;
  const auto spare = static_cast<int32_t>(std::find(used.begin(), used.end(), false) - used.begin());
  s.page_table.insert(s.page_table.begin(), static_cast<size_t>(n_pages), spare);
  s.start += n_pages * c->page;
  c->name += ", decode " + std::to_string(i) + " at " + std::to_string(s.start);
}

// How a case's gate makes its query.
enum class Query { kProjected, kMeanProjected, kMean };

struct SelectGate {
  Query query = Query::kProjected;
  DType weights = DType::kBF16;
  bool has_norm = true, rotates = true, head_norms = false;
  double scaling = 1.0;
};

void give_keys(SelectDecodeCase* c, Random& random, DType activation) {
  const int64_t size = c->n_kv_heads * c->d_head;
  const HostTensor keys = random.tensor(activation, {c->n_pages, c->n_kv_heads, c->d_head}, 2.0F);
  c->gate_k = HostTensor::filled(activation, keys.shape, kNan);
  for (const CaseSegment& s : c->decodes)
    for (int64_t b = 0; b < s.end() / c->page; ++b) {
      const int32_t id = s.page_table[static_cast<size_t>(b)];
      std::copy_n(keys.at(id), size, c->gate_k.at(id));
    }
}

std::string rule_name(const DecodeRule& rule) {
  if (rule.dense()) return "dense";
  return (rule.method == Method::kThreshold ? "threshold="
          : rule.method == Method::kBudget  ? "budget="
                                            : "ratio=") +
         std::to_string(rule.value);
}

SelectDecodeCase make_select_decode_case(Random& random, DType activation, const PagedShape& shape,
                                         const std::vector<int64_t>& decodes,
                                         const std::vector<DecodeRule>& rules, const SelectGate& gate) {
  constexpr int64_t kRowsBefore = 2;  // rows of a prefill of the step, which takes no part here
  SelectDecodeCase c;
  set_shape(&c, shape);
  lay_out(&c, random, {}, decodes);
  for (CaseSegment& s : c.decodes) s.row += kRowsBefore;
  c.n_tokens += kRowsBefore;
  for (size_t i = 0; i < decodes.size(); ++i) c.rules.push_back(rules[i % rules.size()]);
  for (const CaseSegment& s : c.decodes)
    c.row_capacity = std::max(c.row_capacity, static_cast<int64_t>(s.page_table.size()) + 1);

  const int64_t d_q = c.n_heads * c.d_head;
  c.qkv = HostTensor::filled(activation, {c.n_tokens, d_q + 2 * c.n_kv_heads * c.d_head}, kNan);
  const HostTensor heads = random.tensor(activation, {c.n_tokens, d_q}, 2.0F);
  c.cos = c.sin = HostTensor::filled(DType::kF32, {c.n_tokens, c.d_head / 2}, kNan);
  for (const CaseSegment& s : c.decodes) {
    std::copy_n(heads.at(s.row), d_q, c.qkv.at(s.row));
    fill_rope(&c.cos, &c.sin, s.row, 1, s.start, 1);
  }
  for (HostTensor* table : {&c.cos, &c.sin})
    for (float& x : table->values) x *= static_cast<float>(gate.scaling);
  if (gate.head_norms) c.norms = make_norms(random, c.d_head, gate.weights, 1e-6);
  const int64_t n_in = gate.query == Query::kProjected ? c.group() * c.d_head : c.d_head;
  if (gate.query != Query::kMean) c.linear_q = projection(random, gate.weights, c.n_kv_heads, n_in, c.d_head);
  if (gate.has_norm) c.q_norm = norm_weight(random, c.d_head, gate.weights);
  c.rotates = gate.rotates;
  give_keys(&c, random, activation);
  c.name += std::string(", ") + (gate.query == Query::kProjected       ? "Qproj"
                                 : gate.query == Query::kMeanProjected ? "Qavgproj"
                                                                       : "Qavg");
  c.name += std::string(" of ") + dtype_name(gate.weights) + (gate.has_norm ? ", norm" : "") +
            (gate.rotates ? ", rotates" : "") + (gate.head_norms ? ", norms of heads" : "") + ", scaling " +
            std::to_string(gate.scaling);
  for (const DecodeRule& rule : c.rules) c.name += ", " + rule_name(rule);
  return c;
}

// One decode and one head, for which block b has the score scores[b]. The query is sqrt(d_gate) in two
// channels. In the first of these channels a key holds its score rounded to eight bits, and in the second the
// rest of the score. If the last block is open, its score is 0 whatever `scores` says.
SelectDecodeCase make_exact_decode_case(std::string name, DType activation, const std::vector<float>& scores,
                                        const DecodeRule& rule, bool open = false) {
  constexpr int64_t kPage = 16, kGate = 64;
  Random random(scores.size());
  const auto n = static_cast<int64_t>(scores.size());
  SelectGate gate{Query::kMean};
  gate.has_norm = gate.rotates = false;
  SelectDecodeCase c = make_select_decode_case(random, activation, {1, 1, kGate, kPage},
                                               {n * kPage - (open ? 2 : 1)}, {rule}, gate);
  c.name = std::move(name) + ", " + rule_name(rule);
  c.exact = true;
  const CaseSegment& s = c.decodes[0];
  std::fill_n(c.qkv.at(s.row), kGate, 0.0F);
  c.qkv.at(s.row)[5] = c.qkv.at(s.row)[6] = 8.0F;
  for (size_t b = 0; b < scores.size(); ++b) {
    float* key = c.gate_k.at(s.page_table[b]);
    if (open && b + 1 == scores.size()) continue;  // the key of an open block stays NaN
    std::fill_n(key, kGate, 0.0F);
    key[5] = HostTensor(DType::kBF16, {1}, {scores[b]}).values[0];
    key[6] = scores[b] - key[5];
  }
  return c;
}

}  // namespace

std::vector<StoreDecodeKeysCase> store_decode_keys_cases(CaseTypes types) {
  Random random(31);
  std::vector<StoreDecodeKeysCase> cases;
  const auto add = [&](const PagedShape& shape, const std::vector<Run>& prefills,
                       const std::vector<int64_t>& decodes, const StoreGate& gate) {
    cases.push_back(make_store_case(random, types, shape, prefills, decodes, gate));
  };
  for (const PagedShape& shape : kGateShapes) {
    const int64_t page = shape.page;
    // Some decodes fill their page, and some do not. One prefill ends inside a page, the other at a page's
    // end.
    add(shape, {{0, 3 * page + 5}, {2 * page, page}}, {page - 1, 5 * page, 3 * page - 1, 0, page - 2}, {});
    StoreGate bare;
    bare.has_norm = bare.rotates = false;
    bare.weights = DType::kF32;
    add(shape, {{page, 2 * page}}, {4 * page - 1}, bare);
    StoreGate yarn;
    yarn.scaling = 1.3;
    yarn.weights = DType::kF16;
    add(shape, {{0, page + 1}}, {2 * page - 1, 3 * page - 1}, yarn);
  }
  const auto pools = [](int bits) { return GatePools{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}; };
  for (int k = 1; k < 8; ++k)
    for (const bool has_norm : {false, true})
      add({4, 2, 64, 16}, {{16, 37}}, {31}, {pools(k), DType::kBF16, has_norm, !has_norm, 0.8});
  // Steps of prefills, of decodes and of both that fill no page.
  add({4, 2, 64, 64}, {{0, 63}, {64, 1}}, {}, {});
  add({4, 2, 64, 64}, {}, {0, 62, 64, 126}, {});
  add({4, 2, 64, 64}, {{128, 63}}, {190}, {});
  // Steps of one decode, and of as many decodes as a batch has.
  add({4, 2, 64, 16}, {}, {47}, {});
  std::vector<int64_t> batch;
  for (int64_t i = 0; i < 33; ++i) batch.push_back(i % 3 == 0 ? 16 * (i % 5) + 15 : 3 * i);
  add({8, 2, 128, 16}, {}, batch, {});
  // More pages than a GPU takes at once.
  add({4, 1, 64, 16}, {{0, 130 * 16 + 3}}, {}, {});
  add({4, 2, 128, 64}, {{64, 33 * 64}}, {63}, {});
  // Positions of long contexts, at which an angle must not lose digits.
  add({8, 2, 128, 64}, {{0, 70}}, {63, 63, 5}, {});
  move_behind(&cases.back(), 0, 2047);
  move_behind(&cases.back(), 2, 100);
  StoreGate yarn;
  yarn.scaling = 1.4;
  add({4, 1, 64, 16}, {}, {15, 15}, yarn);
  move_behind(&cases.back(), 1, 4000);
  return cases;
}

std::vector<SelectDecodeCase> select_decode_cases(DType activation) {
  Random random(32);
  std::vector<SelectDecodeCase> cases;
  const auto add = [&](const PagedShape& shape, const std::vector<int64_t>& decodes,
                       const std::vector<DecodeRule>& rules, const SelectGate& gate) {
    cases.push_back(make_select_decode_case(random, activation, shape, decodes, rules, gate));
  };
  for (const PagedShape& shape : kGateShapes) {
    const int64_t page = shape.page;
    const auto blocks = [&](int64_t n) { return static_cast<double>(n * page); };
    const std::vector<DecodeRule> rules = {
        {Method::kBudget, blocks(4)}, {Method::kThreshold, 0.02},       {},
        {Method::kRatio, 0.2},        {Method::kBudget, blocks(9) - 1}, {Method::kThreshold, 0.2}};
    // The first token of all, full and open last blocks, and fewer blocks than the budget.
    const std::vector<int64_t> decodes = {0,        40 * page - 1, 12 * page,    39 * page, 20 * page - 2,
                                          page - 1, page,          3 * page - 1, 31 * page, 33 * page - 1};
    for (const Query query : {Query::kProjected, Query::kMeanProjected, Query::kMean}) {
      SelectGate gate{query};
      add(shape, decodes, rules, gate);
      gate.weights = DType::kF32;
      gate.head_norms = true;
      gate.has_norm = false;
      gate.scaling = 1.3;
      add(shape, {25 * page - 1, 25 * page}, rules, gate);
      gate.rotates = false;
      add(shape, {25 * page - 1, 7}, rules, gate);
    }
  }
  // A decode alone, and a batch.
  add({32, 8, 128, 64}, {64 * 64}, {{Method::kBudget, 512.0}}, {});
  std::vector<int64_t> batch;
  for (int64_t i = 0; i < 33; ++i) batch.push_back(i * 97);
  add({8, 2, 64, 16}, batch, {{Method::kBudget, 256.0}, {Method::kThreshold, 0.005}, {}}, {});
  add({8, 2, 64, 16}, batch, {{}}, {});
  // Numbers of blocks around a GPU's tiles, and long contexts.
  for (const int64_t n : {31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1025, 2051})
    add({4, 1, 64, 16}, {n * 16 - 1, n * 16 - 16}, {{Method::kBudget, 512.0}, {Method::kRatio, 0.1}}, {});
  add({7, 1, 128, 64}, {2049 * 64 - 3}, {{Method::kThreshold, 1e-3}}, {});
  return cases;
}

std::vector<SelectDecodeCase> exact_select_decode_cases(DType activation) {
  std::vector<SelectDecodeCase> cases;
  const auto add = [&](std::string name, const std::vector<float>& scores, const DecodeRule& rule,
                       bool open = false) {
    cases.push_back(make_exact_decode_case(std::move(name), activation, scores, rule, open));
  };
  const auto budget = [](double blocks) { return DecodeRule{Method::kBudget, blocks * 16.0}; };
  const std::vector<float> equal(8, 0.0F), falling = {7, 6, 5, 4, 3, 2, 1, 0},
                                           rising = {0, 1, 2, 3, 4, 5, 6, 7};
  add("one block", {3.0F}, budget(1));
  add("one open block", {0.0F}, budget(0), true);
  add("one open block", {0.0F}, {Method::kThreshold, 0.999}, true);
  add("two blocks", {3.0F, 4.0F}, budget(0));
  add("equal scores", equal, budget(3));
  add("equal scores", equal, {Method::kThreshold, 0.125});
  add("equal scores", equal, {Method::kThreshold, 0.124});
  add("equal scores, the last block open", equal, budget(3), true);
  add("equal scores, the last block open", equal, {Method::kThreshold, 0.125}, true);
  add("equal scores", equal, {Method::kRatio, 0.5});
  add("ties at the last kept score", {5, 1, 3, 3, 3, 0, 3, 2}, budget(3));
  add("ties with the open block", {1, -1, 0, 0, 0, -1, 0, 9}, budget(3), true);
  add("the open block is among the best", {-1, -2, -3, -4, -5, -6, -7, 9}, budget(1), true);
  add("the first and the last are among the best", {9, 1, 5, 4, 3, 2, 0, 8}, budget(3));
  add("the first and the last come on top", {0, 7, 6, 5, 4, 3, 2, 0}, budget(3));
  add("a budget of one block", falling, budget(1));
  add("a budget below one block", falling, {Method::kBudget, 15.0});
  add("a budget of no tokens", rising, budget(0));
  add("a budget of a block and a half", rising, budget(1.5));
  add("a budget of all blocks but one", falling, budget(7));
  add("a budget of all blocks", falling, budget(8));
  add("a budget of more than all blocks", falling, {Method::kBudget, 1e9});
  add("a ratio of less than one block", falling, {Method::kRatio, 1e-6});
  add("a ratio of all blocks", falling, {Method::kRatio, 1.0});
  add("a ratio of nearly all blocks", falling, {Method::kRatio, 0.999});
  add("a threshold of zero keeps every block", falling, {Method::kThreshold, 0.0});
  add("a threshold that only the last block passes", rising, {Method::kThreshold, 0.5});
  add("a threshold that no block passes", equal, {Method::kThreshold, 0.9});
  // The softmaxed scores of all other blocks are 0 in float32, and a score of 0 is above no threshold.
  add("one score far above the others", {-300, -300, 300, -300, -300, -300}, {Method::kThreshold, 0.0});
  add("scores far below the open block's", {-300, -300, -300, -300, 0}, {Method::kThreshold, 0.0}, true);
  add("scores of hundreds", {-400, 300, 200, 250, 400, 350}, budget(1));
  for (const int64_t n : {31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 2050, 4100}) {
    const auto add_long = [&](const std::string& name, auto&& score, const DecodeRule& rule, bool open) {
      std::vector<float> scores;
      for (int64_t b = 0; b < n; ++b) scores.push_back(score(b));
      add(name + ", " + std::to_string(n) + " blocks", scores, rule, open);
    };
    const auto few = [](int64_t b) { return static_cast<float>(b * 7 % 5 - 2); };
    const auto close = [](int64_t b) { return 2.0F + static_cast<float>(b * 37 % 64) * 0x1p-13F; };
    const auto one = [&](int64_t b) { return b == n / 2 ? 60.0F : static_cast<float>(b % 3); };
    const auto of = [&](int64_t parts) { return budget(static_cast<double>(n / parts)); };
    add_long("many ties", few, of(10), false);
    add_long("ties that are nearly all wanted", few, of(6), true);
    add_long("ties of a ratio", few, {Method::kRatio, 0.3}, false);
    add_long("scores that differ in their last bits", close, of(3), false);
    add_long(
        "all scores equal", [](int64_t) { return 0.0F; }, of(4), true);
    add_long("one score above all", one, {Method::kThreshold, 0.5}, false);
    add_long("one score above all", one, budget(1), true);
    add_long("all but two", few, budget(static_cast<double>(n - 2)), false);
  }
  return cases;
}

SelectDecodeCase only_decode(const SelectDecodeCase& c, size_t i) {
  SelectDecodeCase one = c;
  one.decodes = {c.decodes.at(i)};
  one.rules = {c.rules.at(i)};
  one.name += ", only decode " + std::to_string(i);
  return one;
}

}  // namespace seer::testing
