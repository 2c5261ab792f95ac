// The cases of the gate: pools and their projection, scores and the choice of blocks.
#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/kernels/paged_cases.h"

namespace seer::testing {
namespace {

struct GateShape {
  GatePools q, k;
  bool two_weights;
  int64_t d_gate;
  DType weights;
};

GateProjectCase make_gate_case(Random& random, DType activation, const PagedShape& shape, Run run,
                               const GateShape& gate) {
  constexpr int64_t kRowsBefore = 3, kRowsAfter = 2;  // rows of other segments of the step
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

std::string name_of(SelectRule::Method method) {
  switch (method) {
    case SelectRule::Method::kThreshold:
      return ", threshold ";
    case SelectRule::Method::kHeadThreshold:
      return ", head_threshold ";
    case SelectRule::Method::kNzRatio:
      return ", nz_ratio ";
    case SelectRule::Method::kNzRatioRow:
      return ", nz_ratio_row ";
  }
  return "";
}

SelectBlocksCase make_select_case(Random& random, DType activation, const PagedShape& shape,
                                  int64_t n_gate_heads, int64_t d_gate, Run run, const SelectRule& rule) {
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
  if (rule.method == SelectRule::Method::kHeadThreshold)
    for (int64_t h = 0; h < c.n_heads; ++h)
      c.head_factors.push_back(h % 3 == 0 ? 0.3F : h % 3 == 1 ? 1.0F : 2.7F);
  c.name += name_of(rule.method) + std::to_string(rule.value) +
            (rule.last_block_dense ? ", last dense, " : ", ") + std::to_string(rule.n_prompt_blocks) +
            " blocks in the prompt";
  return c;
}

// One head in which the score of key block j is scores[j] in every row. gate_q has sqrt(d_gate) in two
// channels. The keys' first channel holds the score to eight bits, and the second the rest of it.
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

}  // namespace

std::vector<GateProjectCase> gate_project_cases(DType activation) {
  Random random(11);
  const GatePools avg{false, false, true}, all{true, true, true}, max_avg{true, false, true};
  std::vector<GateProjectCase> cases;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16})
    for (const PagedShape& shape : kPagedShapes) {
      const int64_t page = shape.page;
      const GateShape one{avg, all, false, shape.d_head, type}, two{max_avg, all, true, shape.d_head, type};
      for (const GateShape& gate : {one, two}) {
        cases.push_back(make_gate_case(random, activation, shape, {0, 2 * page + 1}, gate));
        cases.push_back(make_gate_case(random, activation, shape, {3 * page, page - 1}, gate));
      }
    }
  // For a gate wider than a head, RoPE turns only the first d_head channels.
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
  for (const PagedShape& shape : kOddGroups)
    for (const GateShape& gate : {GateShape{avg, all, false, shape.d_head, DType::kBF16},
                                  GateShape{max_avg, all, true, shape.d_head, DType::kBF16}})
      cases.push_back(make_gate_case(random, activation, shape, {64, 2 * 64 + 1}, gate));
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

std::vector<GateProjectCase> norm_gate_project_cases(DType activation) {
  Random random(21);
  const GatePools avg{false, false, true}, all{true, true, true}, max_avg{true, false, true};
  std::vector<GateProjectCase> cases;
  for (const PagedShape& shape : kPagedShapes)
    for (const GateShape& gate : {GateShape{avg, all, false, shape.d_head, DType::kBF16},
                                  GateShape{max_avg, all, true, shape.d_head, DType::kBF16}}) {
      cases.push_back(make_gate_case(random, activation, shape, {shape.page, 2 * shape.page + 1}, gate));
      cases.back().norms = make_norms(random, shape.d_head, DType::kBF16, 1e-6);
      cases.back().name += ", norms";
    }
  return cases;
}

std::vector<SelectBlocksCase> select_blocks_cases(DType activation) {
  using Method = SelectRule::Method;
  Random random(13);
  std::vector<SelectBlocksCase> cases;
  const PagedShape shape{4, 2, 64, 64}, small{8, 1, 96, 16};
  const std::pair<Method, double> rules[] = {
      {Method::kThreshold, 0.002},    {Method::kThreshold, 0.05},    {Method::kThreshold, 0.4},
      {Method::kHeadThreshold, 0.01}, {Method::kHeadThreshold, 0.1}, {Method::kNzRatio, 0.1},
      {Method::kNzRatio, 0.55},       {Method::kNzRatio, 1.0},       {Method::kNzRatioRow, 0.1},
      {Method::kNzRatioRow, 0.55},    {Method::kNzRatioRow, 1.0}};
  for (const bool last_dense : {true, false})
    for (const auto& rule : rules) {
      const auto add = [&](const PagedShape& s, int64_t gate_heads, int64_t d_gate, Run run,
                           int64_t n_prompt) {
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
  const SelectRule threshold{Method::kThreshold, 0.01, true, 0},
      by_head{Method::kHeadThreshold, 0.01, true, 0}, largest{Method::kNzRatio, 0.1, true, 0},
      of_row{Method::kNzRatioRow, 0.1, true, 0};
  const auto add = [&](const PagedShape& s, int64_t gate_heads, int64_t d_gate, int64_t first,
                       int64_t n_rows) {
    for (SelectRule rule : {threshold, by_head, largest, of_row}) {
      rule.n_prompt_blocks = first + n_rows;
      cases.push_back(make_select_case(random, activation, s, gate_heads, d_gate,
                                       {first * s.page, n_rows * s.page - 1}, rule));
    }
  };
  // Rows around multiples of the GPU's tiles, with few heads, and with so many that its tiles become high.
  const PagedShape wide{32, 8, 64, 16}, narrow{4, 1, 128, 16}, pairs{4, 2, 64, 16};
  for (const int64_t n_rows : {1, 63, 64, 65, 127, 129}) add(narrow, 4, 64, 5, n_rows);
  for (const int64_t n_rows : {65, 128, 129}) add(wide, 32, 64, 0, n_rows);
  add(wide, 8, 128, 3, 97);
  add(wide, 32, 64, 700, 66);
  add(wide, 32, 96, 0, 100);
  add(wide, 8, 256, 0, 66);
  // Contexts with long rows, of which fewer fit at once.
  for (const int64_t first : {1020, 1700, 2045, 3500, 4500}) add(pairs, 4, 64, first, 9);
  add(narrow, 4, 128, 2100, 33);
  add(narrow, 1, 256, 1100, 17);
  // A gate head for each query head, and one for each key head.
  for (const PagedShape& s : kOddGroups)
    for (const int64_t gate_heads : {s.n_heads, s.n_kv_heads}) add(s, gate_heads, s.d_head, 33, 65);
  return cases;
}

std::vector<SelectBlocksCase> exact_select_blocks_cases(DType activation) {
  using Method = SelectRule::Method;
  const auto threshold = [](double value, bool last_dense, int64_t n) {
    return SelectRule{Method::kThreshold, value, last_dense, n};
  };
  // Returns the ratio that keeps k of n blocks in a row, from the middle of its interval.
  const auto largest = [](double k, int64_t n) {
    const double kept = (k + 0.5) / static_cast<double>(n);
    return SelectRule{Method::kNzRatio, 1.0 - (1.0 - kept) * (1.0 - kept), false, n};
  };
  // Returns the ratio that keeps k of a row's n causal blocks.
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

  // Long rows: the last three of a prompt. The edges of the GPU's words, vectors and rounds are around
  // multiples of 32, 128 and 1024 blocks.
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
    // Scores differ by only 2^-15, so the last of the selection's rounds decides.
    const auto close = [](int64_t j) { return 5.0F + static_cast<float>(j * 37 % 64) * 0x1p-15F; };
    add_long("scores that differ in their last bits, nz_ratio", close, share(3));
    const auto one = [&](int64_t j) { return j == n / 2 ? 60.0F : static_cast<float>(j % 3); };
    const auto share_of_row = [&](int64_t parts) {
      const int64_t kept = n / parts;
      return of_row(static_cast<double>(kept), static_cast<double>(n), n);
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

}  // namespace seer::testing
