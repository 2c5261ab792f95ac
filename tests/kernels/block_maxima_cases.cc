#include "tests/kernels/block_maxima_cases.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/kernels/compare.h"
#include "tests/kernels/paged_cases.h"
#include "tests/kernels/reference_sums.h"

namespace seer::testing {
namespace {

AttentionCase make_case(Random& random, DType activation, const PagedShape& shape,
                        const std::vector<Run>& prefills) {
  AttentionCase c;
  set_shape(&c, shape);
  lay_out(&c, random, prefills, {});
  // Scores have a standard deviation of 2: some keys matter, but none alone decides.
  c.q = random.tensor(activation, {c.n_tokens, c.n_heads, c.d_head}, 2.5F);
  const auto all = [](const CaseSegment& s) { return s.end(); };
  c.k = make_pool(c, random, activation, 2.5F, all);
  c.v = make_pool(c, random, activation, 1.0F, all);
  c.first_tokens.assign(prefills.size(), 0);
  return c;
}

// Divides by the sum; all zeros stay zeros.
void normalise(double* row, int64_t n) {
  double sum = 0.0;
  for (int64_t j = 0; j < n; ++j) sum += row[j];
  for (int64_t j = 0; sum > 0.0 && j < n; ++j) row[j] /= sum;
}

}  // namespace

std::vector<AttentionCase> block_maxima_cases(DType activation) {
  Random random(31);
  std::vector<AttentionCase> cases;
  // Groups of 1, 4, 7 and 8 query heads, both head sizes of prefill_sm90, and all pages.
  for (const PagedShape& shape :
       {PagedShape{2, 2, 128, 64}, PagedShape{4, 1, 128, 64}, PagedShape{7, 1, 128, 64},
        PagedShape{8, 1, 64, 64}, PagedShape{4, 4, 64, 64}, PagedShape{4, 1, 64, 16},
        PagedShape{7, 1, 128, 16}, PagedShape{8, 1, 128, 32}, PagedShape{2, 2, 64, 32},
        PagedShape{4, 1, 128, 128}, PagedShape{2, 2, 64, 128}, PagedShape{2, 1, 96, 64},
        PagedShape{2, 1, 256, 64}}) {
    const int64_t page = shape.page;
    cases.push_back(
        make_case(random, activation, shape, {{0, 1}, {page, 63}, {0, 65}, {2 * page, page + 1}}));
    // Seven blocks and a part, eight, and nine and a part, the last of which are after eight earlier ones.
    cases.push_back(make_case(random, activation, shape, {{0, 7 * page + 5}, {0, 8 * page}}));
    cases.push_back(make_case(random, activation, shape, {{8 * page, page + page / 2}}));
    AttentionCase later = make_case(random, activation, shape, {{page, 3 * page + 7}});
    later.first_tokens = {2 * page};
    cases.push_back(std::move(later));
  }
  return cases;
}

std::vector<AttentionCase> many_head_maxima_cases(DType activation) {
  Random random(32);
  std::vector<AttentionCase> cases;
  for (const PagedShape& shape : {PagedShape{136, 8, 64, 64}, PagedShape{140, 20, 128, 64}})
    cases.push_back(make_case(random, activation, shape, {{0, 130}, {64, 65}}));
  cases.push_back(make_case(random, activation, {36, 4, 64, 64}, {{0, 580}}));
  return cases;
}

RowMaximaValues random_maxima(Random& random, int64_t n_heads, int64_t n_tokens, int64_t start,
                              int64_t page) {
  RowMaximaValues r{n_heads, n_tokens, start, page, 0, {}, {}};
  r.row_capacity = (r.own_block(n_tokens - 1) / 8 + 1) * 8;
  r.maxima.assign(static_cast<size_t>(n_heads * n_tokens * r.row_capacity), kAnything);
  for (int64_t row = 0; row < n_heads * n_tokens; ++row) {
    r.log_sums.push_back(random.uniform(-20.0F, 20.0F));
    const int64_t own = r.own_block(row % n_tokens);
    const bool tiny = random.below(8) == 0;
    for (int64_t j = 0; j <= own; ++j)
      r.maxima[static_cast<size_t>(row * r.row_capacity + j)] = static_cast<float>(
          r.log_sums.back() - (tiny && j < own ? 300.0F : 0.0F) - random.uniform(0.0F, 12.0F));
  }
  return r;
}

namespace reference {

RowMaximaValues block_maxima(const AttentionCase& c, size_t prefill, int64_t row_capacity) {
  const CaseSegment& s = c.prefills.at(prefill);
  RowMaximaValues out{c.n_heads, s.n_tokens, s.start, c.page, row_capacity, {}, {}};
  out.maxima.assign(static_cast<size_t>(c.n_heads * s.n_tokens * row_capacity), kAnything);
  for (int64_t h = 0; h < c.n_heads; ++h)
    for (int64_t t = 0; t < s.n_tokens; ++t) {
      const float* q = c.q.at(s.row + t) + h * c.d_head;
      double* tops = out.maxima.data() + (h * s.n_tokens + t) * row_capacity;
      if (t < c.first_tokens.at(prefill)) {
        std::fill_n(tops, row_capacity, kUntouched);
        out.log_sums.push_back(kUntouched);
        continue;
      }
      std::vector<double> scores;
      for (int64_t position = 0; position <= s.start + t; ++position) {
        const int64_t block = position / c.page;
        const float* k = c.k.at(s.page_table.at(static_cast<size_t>(block))) +
                         (h / c.group() * c.page + position % c.page) * c.d_head;
        scores.push_back(dot(q, k, c.d_head) / std::sqrt(static_cast<double>(c.d_head)));
        tops[block] = position % c.page == 0 ? scores.back() : std::max(tops[block], scores.back());
      }
      const double top = *std::max_element(scores.begin(), scores.end());
      double sum = 0.0;
      for (const double score : scores) sum += std::exp(score - top);
      out.log_sums.push_back(top + std::log(sum));
    }
  return out;
}

std::vector<double> prefill_truth(const RowMaximaValues& r, int64_t n_blocks) {
  std::vector<double> out(static_cast<size_t>(r.n_heads * r.n_row_blocks() * n_blocks), 0.0);
  for (int64_t h = 0; h < r.n_heads; ++h)
    for (int64_t row = 0; row < r.n_row_blocks(); ++row) {
      double* o = out.data() + (h * r.n_row_blocks() + row) * n_blocks;
      for (int64_t t = row * r.page; t < std::min((row + 1) * r.page, r.n_tokens); ++t)
        for (int64_t j = 0; j <= r.own_block(t); ++j) {
          const auto at = static_cast<size_t>(h * r.n_tokens + t);
          o[j] = std::max(
              o[j], std::exp(r.maxima[at * static_cast<size_t>(r.row_capacity) + static_cast<size_t>(j)] -
                             r.log_sums[at]));
        }
      normalise(o, n_blocks);
    }
  return out;
}

std::vector<double> decode_truth(const RowMaximaValues& r, int64_t n_kv_heads,
                                 const std::vector<int32_t>& chosen, int64_t n_blocks) {
  const auto n_chosen = static_cast<int64_t>(chosen.size());
  std::vector<double> out(static_cast<size_t>(n_kv_heads * n_chosen * n_blocks), 0.0);
  for (int64_t h = 0; h < r.n_heads; ++h)
    for (int64_t i = 0; i < n_chosen; ++i) {
      const int64_t token = chosen[static_cast<size_t>(i)], at = h * r.n_tokens + token;
      double* o = out.data() + (h / (r.n_heads / n_kv_heads) * n_chosen + i) * n_blocks;
      for (int64_t j = 0; j < r.own_block(token); ++j)
        o[j] = std::max(o[j], std::exp(r.maxima[static_cast<size_t>(at * r.row_capacity + j)] -
                                       r.log_sums[static_cast<size_t>(at)]));
    }
  for (int64_t row = 0; row < n_kv_heads * n_chosen; ++row) normalise(out.data() + row * n_blocks, n_blocks);
  return out;
}

}  // namespace reference
}  // namespace seer::testing
