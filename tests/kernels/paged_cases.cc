// The cases of operations on pages: how steps, pools and masks are made.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "tests/kernels/cases.h"

namespace seer::testing {
namespace {

struct Shape {
  int64_t n_heads, n_kv_heads, d_head, page;
};

// Groups of 1, 4 and 8 queries a key head; pages below, at and above the CPU's 64 query lanes.
constexpr Shape kShapes[] = {{8, 2, 64, 64},  {4, 4, 96, 64}, {8, 1, 128, 64}, {4, 1, 64, 16},
                             {8, 2, 96, 128}, {2, 2, 8, 32},  {2, 1, 256, 64}, {8, 1, 64, 128}};

struct Run {
  int64_t start, n_tokens;
};

void set_shape(PagedCase* c, const Shape& shape) {
  c->n_heads = shape.n_heads;
  c->n_kv_heads = shape.n_kv_heads;
  c->d_head = shape.d_head;
  c->page = shape.page;
}

// Rows in the order of the step; page ids shuffled, with some that no sequence has.
void lay_out(PagedCase* c, Random& random, const std::vector<Run>& prefills,
             const std::vector<int64_t>& decode_starts) {
  constexpr int64_t kSparePages = 3;
  const auto add = [&](std::vector<CaseSegment>* to, int64_t start, int64_t n_tokens) {
    to->push_back({c->n_tokens, n_tokens, start, {}});
    c->n_tokens += n_tokens;
    const int64_t n = (start + n_tokens + c->page - 1) / c->page;
    to->back().page_table.resize(static_cast<size_t>(n));
    c->n_pages += n;
  };
  for (const Run& run : prefills) add(&c->prefills, run.start, run.n_tokens);
  for (const int64_t start : decode_starts) add(&c->decodes, start, 1);
  c->n_pages += kSparePages;
  const std::vector<int32_t> ids = random.permutation(c->n_pages);
  size_t next = 0;
  for (std::vector<CaseSegment>* segments : {&c->prefills, &c->decodes})
    for (CaseSegment& s : *segments)
      for (int32_t& id : s.page_table) id = ids[next++];

  c->name = std::to_string(c->n_heads) + "/" + std::to_string(c->n_kv_heads) + " heads of " +
            std::to_string(c->d_head) + ", pages of " + std::to_string(c->page) + ", prefill";
  for (const Run& run : prefills)
    c->name += " " + std::to_string(run.n_tokens) + "@" + std::to_string(run.start);
  c->name += ", decode";
  for (const int64_t start : decode_starts) c->name += " @" + std::to_string(start);
}

// A pool whose sequences have n_filled(segment) tokens.
template <class Filled>
HostTensor make_pool(const PagedCase& c, Random& random, DType type, float magnitude, Filled&& n_filled) {
  constexpr float kStale = 50.0F;
  HostTensor pool = HostTensor::filled(type, {c.n_pages, c.n_kv_heads, c.page, c.d_head}, kNan);
  for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
    for (const CaseSegment& s : *segments)
      for (size_t block = 0; block < s.page_table.size(); ++block)
        for (int64_t i = 0; i < c.n_kv_heads * c.page; ++i) {
          const int64_t position = static_cast<int64_t>(block) * c.page + i % c.page;
          const float m = position < n_filled(s) ? magnitude : kStale;
          float* slot = pool.at(s.page_table[block]) + i * c.d_head;
          for (int64_t d = 0; d < c.d_head; ++d) slot[d] = random.uniform(-m, m);
        }
  return {type, pool.shape, std::move(pool.values)};
}

// cos and sin of n_rows positions from start on, into rows [row, row + n_rows).
void fill_rope(HostTensor* cos, HostTensor* sin, int64_t row, int64_t n_rows, int64_t start, int64_t stride) {
  const int64_t half = cos->dim(1);
  for (int64_t r = 0; r < n_rows; ++r)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(start + r * stride) *
                           std::pow(1e4, -static_cast<double>(i) / static_cast<double>(half));
      cos->at(row + r)[i] = static_cast<float>(std::cos(angle));
      sin->at(row + r)[i] = static_cast<float>(std::sin(angle));
    }
}

struct GateShape {
  GatePools q, k;
  bool two_weights;
  int64_t d_gate;
  DType weights;
};

GateProjectCase make_gate_case(Random& random, DType activation, const Shape& shape, Run run,
                               const GateShape& gate) {
  constexpr int64_t kRowsBefore = 3, kRowsAfter = 2;  // of other segments of the step
  GateProjectCase c;
  set_shape(&c, shape);
  lay_out(&c, random, {run}, {});
  c.prefills[0].row = kRowsBefore;
  c.n_tokens = kRowsBefore + run.n_tokens + kRowsAfter;
  c.q_pools = gate.q;
  c.k_pools = gate.k;
  const int64_t d_q = gate.q.count() * c.d_head, d_k = gate.k.count() * c.d_head;
  const auto weight = [&](int64_t heads, int64_t d_in) {
    return random.tensor(gate.weights, {heads, d_in, gate.d_gate},
                         2.0F / std::sqrt(static_cast<float>(d_in)));
  };
  if (gate.two_weights) c.linear_q = weight(c.n_heads, d_q);
  c.linear_k = weight(gate.two_weights ? c.n_kv_heads : c.n_heads, d_k);

  c.qkv = HostTensor::filled(activation, {c.n_tokens, (c.n_heads + 2 * c.n_kv_heads) * c.d_head}, kNan);
  const int64_t d_qk = (c.n_heads + c.n_kv_heads) * c.d_head;
  const HostTensor values = random.tensor(activation, {run.n_tokens, d_qk}, 2.0F);
  for (int64_t t = 0; t < run.n_tokens; ++t)
    std::copy(values.at(t), values.at(t) + d_qk, c.qkv.at(kRowsBefore + t));

  const int64_t n_rows = c.n_rows(c.prefills[0]);
  c.cos = c.sin = HostTensor::filled(DType::kF32, {n_rows, c.d_head / 2}, 0.0F);
  fill_rope(&c.cos, &c.sin, 0, n_rows, run.start, c.page);
  const auto pools = [](const GatePools& p) {
    return std::string(p.max ? "max" : "") + (p.min ? "min" : "") + (p.avg ? "avg" : "");
  };
  c.name += ", Q" + pools(gate.q) + "_K" + pools(gate.k) + ", " + c.linear_k.description() +
            (gate.two_weights ? ", two weights" : "");
  return c;
}

SelectBlocksCase make_select_case(Random& random, DType activation, const Shape& shape, int64_t n_gate_heads,
                                  int64_t d_gate, Run run, const SelectRule& rule) {
  SelectBlocksCase c;
  set_shape(&c, shape);
  lay_out(&c, random, {run}, {});
  const CaseSegment& segment = c.prefills[0];
  c.gate_q = random.tensor(activation, {c.n_rows(segment), c.n_heads, d_gate}, 2.5F);
  const HostTensor keys = random.tensor(activation, {c.n_pages, n_gate_heads, d_gate}, 2.5F);
  c.gate_k = HostTensor::filled(activation, keys.shape, kNan);
  for (const int32_t id : segment.page_table)
    std::copy(keys.at(id), keys.at(id) + n_gate_heads * d_gate, c.gate_k.at(id));
  c.rule = rule;
  c.row_capacity = rule.n_prompt_blocks + 1;
  c.name += std::string(rule.method == SelectRule::Method::kThreshold ? ", threshold "
                        : rule.method == SelectRule::Method::kNzRatio ? ", nz_ratio "
                                                                      : ", nz_ratio_row ") +
            std::to_string(rule.value) + (rule.last_block_dense ? ", last dense, " : ", ") +
            std::to_string(rule.n_prompt_blocks) + " blocks in the prompt";
  return c;
}

// One head whose score of key block j is scores[j] in every row: gate_q has sqrt(d_gate) in two channels, of
// which the keys' first holds the score to eight bits and the second what is left of it.
SelectBlocksCase make_exact_case(std::string name, DType activation, const std::vector<float>& scores,
                                 Run run, SelectRule rule, int64_t page = 64) {
  constexpr int64_t kGate = 64;
  Random random(rule.n_prompt_blocks > 0 ? static_cast<uint64_t>(rule.n_prompt_blocks) : 1);
  SelectBlocksCase c = make_select_case(random, activation, {1, 1, 64, page}, 1, kGate, run, rule);
  c.name = std::move(name);
  c.exact = true;
  std::fill(c.gate_q.values.begin(), c.gate_q.values.end(), 0.0F);
  for (int64_t r = 0; r < c.gate_q.dim(0); ++r) c.gate_q.at(r)[5] = c.gate_q.at(r)[6] = 8.0F;
  for (size_t j = 0; j < c.prefills[0].page_table.size(); ++j) {
    float* key = c.gate_k.at(c.prefills[0].page_table[j]);
    std::fill(key, key + kGate, 0.0F);
    key[5] = HostTensor(DType::kBF16, {1}, {scores[j]}).values[0];
    key[6] = std::isnan(scores[j]) ? kNan : scores[j] - key[5];
  }
  return c;
}

AttentionCase make_attention_case(Random& random, DType activation, const Shape& shape,
                                  const std::vector<Run>& prefills, const std::vector<int64_t>& decodes) {
  AttentionCase c;
  set_shape(&c, shape);
  lay_out(&c, random, prefills, decodes);
  // Scores with a standard deviation of 2: some keys matter and none alone.
  c.q = random.tensor(activation, {c.n_tokens, c.n_heads, c.d_head}, 2.5F);
  const auto all = [](const CaseSegment& s) { return s.end(); };
  c.k = make_pool(c, random, activation, 2.5F, all);
  c.v = make_pool(c, random, activation, 1.0F, all);
  c.first_tokens.assign(prefills.size(), 0);
  return c;
}

// A quarter of the rows keeps a single block, a quarter leaves the diagonal out, the rest is random.
CaseMask make_mask(Random& random, const PagedCase& c, const CaseSegment& segment) {
  const int64_t first = segment.start / c.page, n_rows = c.n_rows(segment);
  CaseMask mask;
  mask.row_capacity = first + n_rows + 2;
  for (int64_t i = 0; i < c.n_heads * n_rows; ++i) {
    const auto diagonal = static_cast<int32_t>(first + i % n_rows);
    std::vector<int32_t> row;
    const int64_t kind = random.below(4);
    if (kind > 0)
      for (int32_t j = 0; j < diagonal; ++j)
        if (random.below(3) == 0) row.push_back(j);
    if (kind > 1) row.push_back(diagonal);
    if (row.empty()) row.push_back(static_cast<int32_t>(random.below(diagonal + 1)));
    mask.kept.push_back(std::move(row));
  }
  return mask;
}

// Makes every key and value tile that no row keeps NaN; returns how many.
int64_t poison_dropped(AttentionCase* c, size_t i) {
  const CaseSegment& segment = c->prefills[i];
  const int64_t n_rows = c->n_rows(segment), tile = c->page * c->d_head;
  int64_t n_poisoned = 0;
  for (int64_t kv_head = 0; kv_head < c->n_kv_heads; ++kv_head) {
    std::set<int32_t> kept;
    for (int64_t row = kv_head * c->group() * n_rows; row < (kv_head + 1) * c->group() * n_rows; ++row) {
      const std::vector<int32_t>& list = c->masks[i].kept[static_cast<size_t>(row)];
      kept.insert(list.begin(), list.end());
    }
    for (size_t block = 0; block < segment.page_table.size(); ++block) {
      if (kept.count(static_cast<int32_t>(block)) != 0) continue;
      for (HostTensor* pool : {&c->k, &c->v}) {
        float* at = pool->at(segment.page_table[block]) + kv_head * tile;
        std::fill(at, at + tile, kNan);
      }
      ++n_poisoned;
    }
  }
  return n_poisoned;
}

// Steps of two prefills, from the start and from later pages, and decodes of unequal length.
std::vector<AttentionCase> prefill_cases(Random& random, DType activation) {
  std::vector<AttentionCase> cases;
  for (const Shape& shape : kShapes) {
    const int64_t page = shape.page;
    cases.push_back(
        make_attention_case(random, activation, shape, {{0, 127}, {2 * page, page + 1}}, {5, 3 * page - 1}));
    cases.push_back(make_attention_case(random, activation, shape, {{0, 1}, {page, 63}}, {}));
    cases.push_back(make_attention_case(random, activation, shape, {{0, 65}, {3 * page, 64}}, {page}));
    // The last layer starts where the first wanted row's page does.
    AttentionCase later =
        make_attention_case(random, activation, shape, {{0, 2 * page + 7}, {page, page}}, {1});
    later.first_tokens = {2 * page, 0};
    cases.push_back(std::move(later));
  }
  return cases;
}

}  // namespace

std::vector<AppendKvCase> append_kv_cases(DType activation) {
  Random random(10);
  std::vector<AppendKvCase> cases;
  for (const Shape& shape : kShapes) {
    AppendKvCase c;
    set_shape(&c, shape);
    const int64_t page = shape.page;
    lay_out(&c, random, {{0, 2 * page + 1}, {2 * page, 65}}, {page - 1, page, 1, 3 * page + 5});
    c.qkv = random.tensor(activation, {c.n_tokens, (c.n_heads + 2 * c.n_kv_heads) * c.d_head}, 2.0F);
    const auto earlier = [](const CaseSegment& s) { return s.start; };
    c.k = make_pool(c, random, activation, 1.0F, earlier);
    c.v = make_pool(c, random, activation, 1.0F, earlier);
    c.cos = c.sin = HostTensor::filled(DType::kF32, {c.n_tokens, c.d_head / 2}, kNan);
    for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
      for (const CaseSegment& s : *segments) fill_rope(&c.cos, &c.sin, s.row, s.n_tokens, s.start, 1);
    cases.push_back(std::move(c));
  }
  return cases;
}

std::vector<AppendKvCase> elsewhere_append_kv_cases(DType activation) {
  std::vector<AppendKvCase> cases = append_kv_cases(activation);
  for (AppendKvCase& c : cases) {
    for (const size_t i : {size_t{0}, size_t{3}}) c.decodes[i].page_table.back() = -1;
    // Earlier pages may be elsewhere too: nothing is written there.
    c.decodes[1].page_table.front() = -1;
    c.name += ", the first and the last decode's page elsewhere";
  }
  return cases;
}

std::vector<GateProjectCase> gate_project_cases(DType activation) {
  Random random(11);
  const GatePools avg{false, false, true}, all{true, true, true}, max_avg{true, false, true};
  std::vector<GateProjectCase> cases;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16})
    for (const Shape& shape : kShapes) {
      const int64_t page = shape.page;
      const GateShape one{avg, all, false, shape.d_head, type}, two{max_avg, all, true, shape.d_head, type};
      for (const GateShape& gate : {one, two}) {
        cases.push_back(make_gate_case(random, activation, shape, {0, 2 * page + 1}, gate));
        cases.push_back(make_gate_case(random, activation, shape, {3 * page, page - 1}, gate));
      }
    }
  // A gate wider than a head: RoPE turns the first d_head channels alone.
  const GateShape wide{avg, avg, true, 128, DType::kBF16};
  cases.push_back(make_gate_case(random, activation, {8, 2, 64, 64}, {64, 127}, wide));
  const GateShape one{avg, all, false, 64, DType::kBF16};
  for (const int64_t n : {1, 63, 64, 65})
    cases.push_back(make_gate_case(random, activation, {4, 1, 64, 64}, {0, n}, one));
  // Block rows around the GPU's tiles of 32.
  for (const int64_t n_rows : {31, 32, 33, 63, 64, 65, 127, 129})
    cases.push_back(make_gate_case(random, activation, {4, 1, 64, 16}, {32, n_rows * 16 - 5}, one));
  // The widest inputs, and gates wider than their heads.
  for (const int64_t d_gate : {64, 96, 128, 256})
    cases.push_back(make_gate_case(random, activation, {8, 2, 64, 16}, {16, 40 * 16},
                                   {all, max_avg, true, d_gate, DType::kBF16}));
  cases.push_back(make_gate_case(random, activation, {4, 1, 256, 16}, {0, 33 * 16 + 1},
                                 {all, all, true, 256, DType::kBF16}));
  cases.push_back(make_gate_case(random, activation, {32, 8, 128, 16}, {48, 128 * 16},
                                 {avg, all, false, 128, DType::kBF16}));
  return cases;
}

std::vector<GateProjectCase> gate_pool_cases(DType activation) {
  Random random(12);
  std::vector<GateProjectCase> cases;
  const auto pools = [](int bits) { return GatePools{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}; };
  for (int q = 1; q < 8; ++q)
    for (int k = 1; k < 8; ++k)
      for (const bool two_weights : {true, false}) {
        if (!two_weights && pools(q).count() > 1) continue;  // such a gate always has two
        cases.push_back(make_gate_case(random, activation, {4, 2, 64, 16}, {16, 37},
                                       {pools(q), pools(k), two_weights, 64, DType::kBF16}));
      }
  return cases;
}

std::vector<SelectBlocksCase> select_blocks_cases(DType activation) {
  using Method = SelectRule::Method;
  Random random(13);
  std::vector<SelectBlocksCase> cases;
  const Shape shape{4, 2, 64, 64}, small{8, 1, 96, 16};
  const std::pair<Method, double> rules[] = {
      {Method::kThreshold, 0.002}, {Method::kThreshold, 0.05},  {Method::kThreshold, 0.4},
      {Method::kNzRatio, 0.1},     {Method::kNzRatio, 0.55},    {Method::kNzRatio, 1.0},
      {Method::kNzRatioRow, 0.1},  {Method::kNzRatioRow, 0.55}, {Method::kNzRatioRow, 1.0}};
  for (const bool last_dense : {true, false})
    for (const auto& rule : rules) {
      const auto add = [&](const Shape& s, int64_t gate_heads, int64_t d_gate, Run run, int64_t n_prompt) {
        cases.push_back(make_select_case(random, activation, s, gate_heads, d_gate, run,
                                         {rule.first, rule.second, last_dense, n_prompt}));
      };
      add(shape, 4, 64, {0, 1000}, 16);          // the whole prompt, its last page partial
      add(shape, 2, 64, {0, 5 * 64}, 40);        // a first chunk
      add(shape, 2, 128, {8 * 64, 9 * 64}, 18);  // a chunk that ends at the last but one block
      add(small, 1, 96, {16 * 16, 33}, 19);      // the last chunk
      add(small, 8, 96, {0, 3}, 1);
    }
  return cases;
}

std::vector<SelectBlocksCase> many_select_blocks_cases(DType activation) {
  using Method = SelectRule::Method;
  Random random(18);
  std::vector<SelectBlocksCase> cases;
  const SelectRule threshold{Method::kThreshold, 0.01, true, 0}, largest{Method::kNzRatio, 0.1, true, 0},
      of_row{Method::kNzRatioRow, 0.1, true, 0};
  const auto add = [&](const Shape& s, int64_t gate_heads, int64_t d_gate, int64_t first, int64_t n_rows) {
    for (SelectRule rule : {threshold, largest, of_row}) {
      rule.n_prompt_blocks = first + n_rows;
      cases.push_back(make_select_case(random, activation, s, gate_heads, d_gate,
                                       {first * s.page, n_rows * s.page - 1}, rule));
    }
  };
  // Rows around multiples of the GPU's tiles, by few heads and by as many as make its tiles high.
  const Shape wide{32, 8, 64, 16}, narrow{4, 1, 128, 16}, pairs{4, 2, 64, 16};
  for (const int64_t n_rows : {1, 63, 64, 65, 127, 129}) add(narrow, 4, 64, 5, n_rows);
  for (const int64_t n_rows : {65, 128, 129}) add(wide, 32, 64, 0, n_rows);
  add(wide, 8, 128, 3, 97);
  add(wide, 32, 64, 700, 66);
  add(wide, 32, 96, 0, 100);
  add(wide, 8, 256, 0, 66);
  // Contexts of long rows, which leave room for fewer of them at once.
  for (const int64_t first : {1020, 1700, 2045, 3500, 4500}) add(pairs, 4, 64, first, 9);
  add(narrow, 4, 128, 2100, 33);
  add(narrow, 1, 256, 1100, 17);
  return cases;
}

std::vector<SelectBlocksCase> exact_select_blocks_cases(DType activation) {
  using Method = SelectRule::Method;
  const auto threshold = [](double value, bool last_dense, int64_t n) {
    return SelectRule{Method::kThreshold, value, last_dense, n};
  };
  // The ratio that keeps k of n blocks a row, from the middle of its interval.
  const auto largest = [](double k, int64_t n) {
    const double kept = (k + 0.5) / static_cast<double>(n);
    return SelectRule{Method::kNzRatio, 1.0 - (1.0 - kept) * (1.0 - kept), false, n};
  };
  // The ratio that keeps k of a row's n causal blocks.
  const auto of_row = [](double k, double of, int64_t n) {
    return SelectRule{Method::kNzRatioRow, (k + 0.5) / of, false, n};
  };
  const std::vector<float> equal(8, 1.0F), falling = {7, 6, 5, 4, 3, 2, 1, 0};
  const auto whole = [](int64_t n_blocks) { return Run{0, n_blocks * 64}; };
  std::vector<SelectBlocksCase> cases;
  const auto add = [&](std::string name, const std::vector<float>& scores, Run run, const SelectRule& rule) {
    cases.push_back(make_exact_case(std::move(name), activation, scores, run, rule));
  };
  add("equal scores, nz_ratio", equal, whole(8), largest(3, 8));
  add("ties at the last kept score, nz_ratio", {5, 1, 3, 3, 3, 0, 3, 2}, whole(8), largest(3, 8));
  add("the largest is not the diagonal, nz_ratio", falling, whole(8), largest(1, 8));
  add("a ratio that gives less than one block", falling, whole(8), {Method::kNzRatio, 0.01, false, 8});
  add("a chunk counts the whole prompt's blocks, nz_ratio", falling, {128, 192}, largest(3, 20));
  add("a NaN key comes last, nz_ratio", {1, kNan, -3, -4, -5, -6, -7, -8}, whole(8), largest(2, 8));
  add("half of each row, nz_ratio_row", equal, whole(8), {Method::kNzRatioRow, 0.5, false, 8});
  add("half of each row but the dense ones, nz_ratio_row", equal, whole(8),
      {Method::kNzRatioRow, 0.5, true, 8});
  add("all of each row, nz_ratio_row", equal, whole(8), {Method::kNzRatioRow, 1.0, false, 8});
  add("less than one block of a row, nz_ratio_row", {0, 1, 2, 3, 7, 6, 5, 4}, whole(8),
      {Method::kNzRatioRow, 1e-9, false, 8});
  add("ties at the last kept score, nz_ratio_row", {5, 1, 3, 3, 3, 0, 3, 2}, whole(8), of_row(3, 8, 8));
  add("a NaN key comes last, nz_ratio_row", {1, kNan, -3, -4, -5, -6, -7, -8}, whole(8), of_row(2, 8, 8));
  add("a chunk counts the rows' own blocks, nz_ratio_row", falling, {128, 192}, of_row(3, 5, 20));
  add("scores that equal the threshold are dropped", equal, whole(4), threshold(0.25, false, 4));
  add("rows that keep nothing keep the diagonal", equal, whole(8), threshold(0.9, false, 8));
  add("a NaN key leaves the diagonal, threshold", {1, kNan, 1, 1}, whole(4), threshold(0.1, false, 4));
  for (const int64_t n : {1, 2, 3, 8})
    add("the last two rows of " + std::to_string(n) + " are dense", equal, whole(n), threshold(0.9, true, n));
  add("a chunk's last rows are not the prompt's", equal, whole(5), threshold(0.9, true, 7));
  add("the last but one row ends a chunk", equal, whole(6), threshold(0.9, true, 7));
  add("the last row is a chunk", equal, {6 * 64, 1}, threshold(0.9, true, 7));
  add("a threshold of zero keeps every block", equal, whole(8), threshold(0.0, false, 8));
  std::vector<float> last_nan = falling;
  last_nan.back() = kNan;
  add("a NaN key in the last block, nz_ratio", last_nan, whole(8), largest(3, 8));
  add("a NaN key in the last block, threshold", last_nan, whole(8), threshold(0.1, false, 8));
  add("as many as there are, nz_ratio", falling, whole(8), largest(7, 8));

  // Long rows: the last three of a prompt. Around multiples of 32, 128 and 1024 blocks lie the edges of the
  // GPU's words, vectors and rounds.
  constexpr int64_t kSmallPage = 16;
  for (const int64_t n : {127, 128, 129, 1023, 1024, 1025, 2050, 4100}) {
    const auto add_long = [&](const std::string& name, auto&& score, const SelectRule& rule) {
      std::vector<float> scores;
      for (int64_t j = 0; j < n; ++j) scores.push_back(score(j));
      cases.push_back(make_exact_case(name + ", " + std::to_string(n) + " blocks", activation, scores,
                                      {(n - 3) * kSmallPage, 3 * kSmallPage}, rule, kSmallPage));
    };
    const auto share = [&](int64_t parts) {
      const int64_t k = n / parts;
      return largest(static_cast<double>(k), n);
    };
    const auto few = [](int64_t j) { return static_cast<float>(j * 7 % 5 - 2); };
    add_long("many ties, nz_ratio", few, share(10));
    add_long("ties that are nearly all wanted, nz_ratio", few, share(6));
    // Apart by 2^-15 only: the last of the selection's rounds decides.
    const auto close = [](int64_t j) { return 5.0F + static_cast<float>(j * 37 % 64) * 0x1p-15F; };
    add_long("scores that differ in their last bits, nz_ratio", close, share(3));
    const auto one = [&](int64_t j) { return j == n / 2 ? 60.0F : static_cast<float>(j % 3); };
    const auto share_of_row = [&](int64_t parts) {
      return of_row(static_cast<double>(n / parts), static_cast<double>(n), n);
    };
    add_long("many ties, nz_ratio_row", few, share_of_row(10));
    add_long("scores that differ in their last bits, nz_ratio_row", close, share_of_row(3));
    add_long("nearly all, nz_ratio_row", few, {Method::kNzRatioRow, 0.999, false, n});
    add_long("one score above all, threshold", one, threshold(0.5, false, n));
    add_long("one score above all, nz_ratio", one, largest(1, n));
    add_long("nearly all, nz_ratio", few, largest(static_cast<double>(n - 2), n));
    add_long("a dense last row, threshold", one, threshold(0.5, true, n));
  }
  return cases;
}

std::vector<AttentionCase> dense_prefill_cases(DType activation) {
  Random random(14);
  std::vector<AttentionCase> cases = prefill_cases(random, activation);
  // So many heads that a GPU takes neighbouring rows together, from the prompt's begin and behind other
  // blocks.
  cases.push_back(make_attention_case(random, activation, {136, 8, 64, 64}, {{0, 130}}, {}));
  cases.push_back(make_attention_case(random, activation, {136, 8, 128, 64}, {{64, 65}}, {}));
  return cases;
}

std::vector<AttentionCase> masked_prefill_cases(DType activation) {
  Random random(15);
  std::vector<AttentionCase> cases = prefill_cases(random, activation);
  for (AttentionCase& c : cases) {
    for (const CaseSegment& segment : c.prefills) c.masks.push_back(make_mask(random, c, segment));
    int64_t n_poisoned = 0;
    for (size_t i = 0; i < c.prefills.size(); ++i) n_poisoned += poison_dropped(&c, i);
    c.name += ", " + std::to_string(n_poisoned) + " tiles dropped";
  }
  return cases;
}

std::vector<AttentionCase> growing_scores_cases(DType activation) {
  Random random(18);
  std::vector<AttentionCase> cases;
  for (const Shape& shape : {Shape{8, 2, 128, 64}, Shape{4, 1, 64, 64}, Shape{2, 2, 96, 32}})
    for (const bool grows : {true, false}) {
      AttentionCase c = make_attention_case(random, activation, shape, {{0, 513}}, {});
      for (float& x : c.q.values) x = std::abs(x);
      const CaseSegment& segment = c.prefills[0];
      const auto n_blocks = static_cast<float>(segment.page_table.size());
      for (size_t b = 0; b < segment.page_table.size(); ++b) {
        const float step = (grows ? static_cast<float>(b) : n_blocks - static_cast<float>(b)) / n_blocks;
        float* page = c.k.at(segment.page_table[b]);
        for (int64_t i = 0; i < c.n_kv_heads * c.page * c.d_head; ++i)
          page[i] = std::abs(page[i]) * 64.0F * step;
      }
      // Rounded again, as what a device is given.
      c.q = {activation, c.q.shape, std::move(c.q.values)};
      c.k = {activation, c.k.shape, std::move(c.k.values)};
      c.name += grows ? ", scores grow" : ", scores shrink";
      cases.push_back(std::move(c));
    }
  return cases;
}

std::vector<AttentionCase> decode_cases(DType activation) {
  Random random(16);
  std::vector<AttentionCase> cases;
  // The CPU splits a sequence after 1024 keys.
  for (const Shape& shape : kShapes) {
    cases.push_back(make_attention_case(random, activation, shape, {{0, 2}},
                                        {0, 62, 63, 64, 126, 127, 1023, 1024, 2100}));
    cases.push_back(make_attention_case(random, activation, shape, {}, {700}));
  }
  return cases;
}

std::vector<AttentionCase> long_attention_cases(DType activation) {
  Random random(17);
  std::vector<AttentionCase> cases;
  for (const Shape& shape : {Shape{8, 8, 64, 64}, Shape{8, 2, 128, 64}, Shape{8, 1, 128, 128}}) {
    cases.push_back(make_attention_case(random, activation, shape, {{0, 4097}}, {}));
    cases.push_back(make_attention_case(random, activation, shape, {{2048, 2049}}, {}));
    cases.push_back(make_attention_case(random, activation, shape, {}, {4096, 1, 8000, 63, 64, 2047}));
    AttentionCase masked = make_attention_case(random, activation, shape, {{0, 4097}}, {});
    masked.masks.push_back(make_mask(random, masked, masked.prefills[0]));
    poison_dropped(&masked, 0);
    cases.push_back(std::move(masked));
  }
  return cases;
}

}  // namespace seer::testing
